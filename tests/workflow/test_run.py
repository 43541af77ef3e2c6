"""The whole DAG, run on a miniature study; then, the jobs that run again after changes."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from clever.job_code import collection_code, drawing_code, evaluation_code, preparation_code, training_code

from ..miniature import MINIATURE
from .conftest import Snakemake, planned_jobs

RUN = "digits/tiny/dino+clever/caug/seed0"
CONTROL = "digits/tiny/untrained/none/seed0"
LATER = {"collect": 1, "table_1": 1, "figure_robustness": 1, "figure_loss_terms": 1, "figure_claims": 1, "report": 1}


def plan(snakemake: Snakemake, *arguments: str, study: str = "mini.yaml") -> dict[str, int]:
    """The number of jobs by rule that a run would start now."""
    planned = snakemake("--dry-run", *arguments, "--quiet", "rules", "--configfile", study)
    assert planned.returncode == 0, planned.stdout
    return planned_jobs(planned.stdout)


@contextmanager
def edited(path: Path, before: str, after: str) -> Iterator[None]:
    """Replace a text in the file within the block; restore its content and time afterwards."""
    text, times = path.read_text(encoding="utf-8"), path.stat()
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_all_results_are_made(finished: Path) -> None:
    for run in (RUN, CONTROL):
        for name in ("backbone.safetensors", "run.json", "metrics.csv"):
            assert (finished / "runs" / run / name).stat().st_size > 0
    tables = [f"table_1.{suffix}" for suffix in ("md", "csv", "tex")]
    figures = [f"figure_{item}.{suffix}" for item in ("robustness", "loss_terms") for suffix in ("pdf", "png", "svg")]
    for name in (*tables, *figures, "report.html"):
        assert (finished / "paper" / name).stat().st_size > 0
    with (finished / "records.csv").open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    assert {row["run"] for row in records} == {RUN, CONTROL}
    assert {row["perturbation"] for row in records} == {"orig", "rot180"}
    assert {row["part"] for row in records if row["run"] == RUN} == {"ALL", "IR", "EF"}
    runs = {run["run"]: run for run in json.loads((finished / "runs.json").read_text())}
    assert runs[RUN]["iterations"] == 3
    assert runs[CONTROL]["epochs"] == 0
    # Every record refers to the recipe and the data of its run.
    for row in records:
        assert row["recipe_digest"] == runs[row["run"]]["recipe_digest"]
        assert row["data_checksum"] == runs[row["run"]]["data_checksum"]


def test_a_second_run_does_nothing(finished: Path, snakemake: Snakemake) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    again = snakemake("--cores", "2", "--configfile", "mini.yaml")
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("epochs: 2}", "epochs: 3}", {"evaluate": 2}),
        ("batch_size: 20", "batch_size: 30", {"pretrain": 1, "evaluate": 1}),
        ("train_limit: 60", "train_limit: 50", {"prepare": 1, "pretrain": 2, "evaluate": 2}),
        ("pretrainings:", "  dino: {baseline: {name: dino}}\npretrainings:", {}),
    ],
    ids=["probe", "recipe", "data", "unused method"],
)
def test_an_edit_of_the_study_reruns_the_affected_jobs(
    project: Path, snakemake: Snakemake, before: str, after: str, expected: dict[str, int]
) -> None:
    assert before in MINIATURE
    (project / "edited.yaml").write_text(MINIATURE.replace(before, after, 1))
    assert plan(snakemake, study="edited.yaml") == (expected | LATER if expected else {})


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("src/clever/pretraining/trainer.py", {"pretrain": 2, "evaluate": 2} | LATER),
        ("src/clever/collectives.py", {"pretrain": 2, "evaluate": 2} | LATER),
        ("src/clever/run_report.py", {}),
        ("src/clever/errors.py", {}),
        ("src/clever/equivariance/ddcl.py", {"pretrain": 1, "evaluate": 1} | LATER),
        ("src/clever/evaluation/linear.py", {"evaluate": 2} | LATER),
        ("paper_figures/table_1.py", {"table_1": 1, "report": 1}),
        ("src/clever/evaluation/knn.py", {}),
        ("src/clever/equivariance/__init__.py", {}),
    ],
)
def test_an_edit_of_the_code_reruns_the_dependent_jobs(
    project: Path, snakemake: Snakemake, file: str, expected: dict[str, int]
) -> None:
    with edited(project / file, "from __future__", "# Edited.\nfrom __future__"):
        assert plan(snakemake) == expected


@pytest.mark.usefixtures("finished")
def test_the_graph_lists_the_code_that_counts(project: Path, snakemake: Snakemake) -> None:
    """Every job's input with the sums of its Python files lists those of ``clever.job_code``."""
    listed = snakemake("--detailed-summary", "--configfile", "mini.yaml")
    assert listed.returncode == 0, listed.stdout
    rows = [line.split("\t") for line in listed.stdout.splitlines() if line.startswith("results/mini/")]
    sums = {
        row[0].removeprefix("results/mini/"): [f for f in row[4].split(",") if f.endswith(".sha256")] for row in rows
    }
    scripts = project / "paper_figures"
    expected = {
        "data/digits/store.json": preparation_code("digits", project / "src"),
        "runs/digits/tiny/dino+clever/caug/seed0/run.json": training_code("dino", "clever", project / "src"),
        "runs/digits/tiny/untrained/none/seed0/run.json": training_code(None, None, project / "src"),
        "evaluations/digits/tiny/dino+clever/caug/seed0/linear.json": evaluation_code("linear", project / "src"),
        "records.csv": collection_code(project / "src"),
        "paper/table_1.md": drawing_code(scripts / "table_1.py", project / "src"),
        "paper/report.html": drawing_code(scripts / "report.py", project / "src"),
    }
    for output, files in expected.items():
        (file,) = sums[output]
        found = dict(line.split("  ")[::-1] for line in (project / file).read_text(encoding="utf-8").splitlines())
        digests = {str(f.relative_to(project)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
        assert found == digests, output


def test_results_without_snakemake_s_metadata_follow_the_times_of_the_code(
    finished: Path, project: Path, snakemake: Snakemake, tmp_path: Path
) -> None:
    """This is the case in a fresh clone into which results were copied."""
    notes = project / ".snakemake"
    notes.rename(tmp_path / "notes")
    last = max(path.stat().st_mtime for path in finished.rglob("*"))
    module = project / "src/clever/equivariance/ddcl.py"
    times = module.stat()
    try:
        assert plan(snakemake, "--rerun-triggers", "mtime") == {}
        os.utime(module, (last + 1, last + 1))
        expected = {"pretrain": 1, "evaluate": 1} | LATER
        assert plan(snakemake, "--rerun-triggers", "mtime") == expected
    finally:
        os.utime(module, ns=(times.st_atime_ns, times.st_mtime_ns))
        shutil.rmtree(notes)
        (tmp_path / "notes").rename(notes)


def test_a_folder_that_has_moved_is_not_prepared_again(project: Path, snakemake: Snakemake, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    (tmp_path / "here" / "pictures").mkdir(parents=True)
    for split in ("train", "test"):
        images = generator.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
        np.save(tmp_path / "here" / "pictures" / f"{split}_images.npy", images)
        np.save(tmp_path / "here" / "pictures" / f"{split}_labels.npy", np.arange(8) % 2)
    text = MINIATURE.replace("study: mini", "study: moved").replace(
        "digits: {source: digits", "digits: {source: arrays, root: pictures"
    )
    text = text.replace("train_limit: 60, test_limit: 40", "train_limit: 6").replace("batch_size: 20", "batch_size: 6")
    (project / "moved.yaml").write_text(text)
    store = "results/moved/data/digits/store.json"
    here = ("--configfile", "moved.yaml", "--config", f"data_root={tmp_path / 'here'}")
    prepared = snakemake("--cores", "1", store, *here)
    assert prepared.returncode == 0, prepared.stdout
    (tmp_path / "here").rename(tmp_path / "there")
    assert plan(snakemake, store, "--config", f"data_root={tmp_path / 'there'}", study="moved.yaml") == {}
    # The folder may also be missing once its images are in the store.
    assert plan(snakemake, store, study="moved.yaml") == {}


@pytest.mark.usefixtures("finished")
def test_a_checkout_with_newer_times_but_equal_content_reruns_nothing(project: Path, snakemake: Snakemake) -> None:
    for path in [*(project / "src").rglob("*.py"), *(project / "paper_figures").rglob("*.*")]:
        path.touch()
    assert plan(snakemake) == {}


def test_one_seed_is_trained_and_evaluated_before_the_next(project: Path, snakemake: Snakemake) -> None:
    study = MINIATURE.replace("study: mini", "study: seeds")
    study = study.replace("augmentations: [caug]", "augmentations: [caug]\n    seeds: [2, 0, 1]")
    (project / "seeds.yaml").write_text(study)
    wanted = [f"results/seeds/evaluations/digits/tiny/untrained/none/seed{seed}/linear.json" for seed in range(3)]
    done = snakemake(*reversed(wanted), "--cores", "1", "--configfile", "seeds.yaml")
    assert done.returncode == 0, done.stdout
    order = re.findall(r"^Job \d+: (pre-train|evaluate) \S+/seed(\d)", done.stdout, re.MULTILINE)
    assert order == [(step, str(seed)) for seed in range(3) for step in ("pre-train", "evaluate")]


def test_one_table_is_drawn_alone(finished: Path, snakemake: Snakemake) -> None:
    content = (finished / "paper" / "table_1.md").read_bytes()
    (finished / "paper" / "table_1.md").unlink()
    drawn = snakemake("--cores", "1", "results/mini/paper/table_1.md", "--configfile", "mini.yaml")
    assert drawn.returncode == 0, drawn.stdout
    assert "1 of 1 steps (100%) done" in drawn.stdout
    assert (finished / "paper" / "table_1.md").read_bytes() == content


def test_figures_are_drawn_from_records_alone(project: Path, finished: Path, snakemake: Snakemake) -> None:
    """As with committed records, there are no runs, no evaluations, and no metadata of jobs."""
    study = MINIATURE.replace("study: mini", "study: measured")
    (project / "measured.yaml").write_text(study)
    results = project / "results" / "measured"
    results.mkdir()
    for name in ("records.csv", "curves.csv", "runs.json"):
        shutil.copy(finished / name, results)
    target = "results/measured/paper/figure_robustness.png"
    assert plan(snakemake, target, study="measured.yaml") == {"figure_robustness": 1}


def test_committed_records_are_drawn_without_data_or_training(project: Path, snakemake: Snakemake) -> None:
    """The study's data are not on this machine; only the committed records are."""
    arguments = ("--configfile", "workflow/studies/cifar10_cpu.yaml", "--config", "from_measured=true")
    planned = snakemake("--dry-run", "--quiet", "rules", *arguments)
    assert planned.returncode == 0, planned.stdout
    drawn = {"table_1": 1, "figure_robustness": 1, "figure_loss_terms": 1, "figure_claims": 1, "report": 1}
    assert planned_jobs(planned.stdout) == {"committed": 3, "committed_sums": 1, **drawn}
    folder = project / "results" / "cifar10_cpu" / "measured"
    # A long file may be committed compressed.
    committed = project / "paper_figures" / "measured" / "cifar10_cpu" / "records.csv"
    plain = committed.with_name("curves.csv")
    curves = plain.read_bytes()
    with gzip.open(f"{plain}.gz", "wb") as compressed:
        compressed.write(curves)
    plain.unlink()
    targets = [str((folder / name).relative_to(project)) for name in ("paper/table_1.csv", "curves.csv")]
    done = snakemake("--cores", "1", *targets, *arguments)
    assert done.returncode == 0, done.stdout
    assert (folder / "curves.csv").read_bytes() == curves
    assert (folder / "records.csv").read_bytes() == committed.read_bytes()
    with committed.open(encoding="utf-8", newline="") as file:
        [value] = [
            float(row["value"])
            for row in csv.DictReader(file)
            if (row["run"], row["protocol"], row["part"], row["perturbation"], row["metric"], row["selection"])
            == ("cifar10/resnet10t_half/dino/caug/seed0", "linear", "ALL", "cj_rot", "top1", "last")
        ]
    with (folder / "paper" / "table_1.csv").open(encoding="utf-8", newline="") as file:
        [drawn_value] = [
            float(row["value"])
            for row in csv.DictReader(file)
            if (row["kind"], row["method"], row["augmentation"], row["perturbation"], row["selection"])
            == ("ours", "dino", "caug", "cj_rot", "last")
        ]
    assert drawn_value == value


def test_use_conda_runs_jobs_in_the_environment_and_reruns_nothing(
    project: Path, finished: Path, snakemake: Snakemake, tmp_path: Path
) -> None:
    """Uses a stand-in for conda that records its calls; its environments lead to this interpreter."""
    assert plan(snakemake) == {}
    _write_stand_in_conda(tmp_path)
    content = (finished / "records.csv").read_bytes()
    for name in ("records.csv", "paper/table_1.md"):
        (finished / name).unlink()
    drawn = snakemake(
        *("results/mini/paper/table_1.md", "--cores", "1", "--use-conda", "--configfile", "mini.yaml"),
        path=[tmp_path / "bin"],
    )
    assert drawn.returncode == 0, drawn.stdout
    assert "2 of 2 steps (100%) done" in drawn.stdout
    assert (finished / "records.csv").read_bytes() == content
    calls = (tmp_path / "calls").read_text().splitlines()
    # One environment for all rules, made from the unchanged environment.yml.
    created = [call for call in calls if call.startswith("conda env create")]
    assert len(created) == 1
    assert (tmp_path / "asked.yaml").read_bytes() == (project / "environment.yml").read_bytes()
    # The package of this checkout is installed into the environment, without dependencies.
    installed = [call for call in calls if call.startswith("python -m pip install")]
    assert len(installed) == 1
    assert "--no-deps" in installed[0]
    assert installed[0].endswith("--editable .")  # Snakemake runs the script in the working folder
    # Both kinds of jobs use the environment's program, although Snakemake's is also on the path.
    assert any(call.startswith("clever collect") for call in calls)
    assert any(call.startswith("python paper_figures/table_1.py") for call in calls)


def _write_stand_in_conda(folder: Path) -> None:
    programs = {
        "conda": f"""#!/bin/bash
echo "conda $*" >> {folder}/calls
case "$*" in
  "info --json") echo '{{"conda_prefix": "{folder}", "platform": "linux-64"}}' ;;
  "--version") echo "conda 25.1.1" ;;
  config*) echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
  "env create"*)
    eval "set -- $*"
    while [ $# -gt 0 ]; do
      case "$1" in
        --prefix) mkdir -p "$2" ;;
        --file) cp "$2" {folder}/asked.yaml ;;
      esac
      shift
    done ;;
esac
""",
        "activate": f'export PATH="{folder}/environment:$PATH"\n',
    }
    inside = {
        "python": f"""#!/bin/bash
echo "python $*" >> {folder}/calls
[ "$2" = pip ] || exec {sys.executable} "$@"
""",
        "clever": f"""#!/bin/bash
echo "clever $*" >> {folder}/calls
exec {sys.executable} -m clever.cli "$@"
""",
    }
    for path, text in [(folder / "bin" / name, text) for name, text in programs.items()] + [
        (folder / "environment" / name, text) for name, text in inside.items()
    ]:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_results_copied_without_snakemake_s_metadata_are_accepted_after_touch(
    finished: Path, snakemake: Snakemake, tmp_path: Path
) -> None:
    """The copy has new dates and is in a folder where Snakemake has never run."""
    study = finished.parents[1] / "mini.yaml"
    shutil.copytree(finished, tmp_path / "results" / "mini", copy_function=shutil.copyfile)
    for path in sorted((tmp_path / "results" / "mini" / "data").rglob("*")):
        os.utime(path)  # the store looks newer than the runs
    words = ("--directory", str(tmp_path), "--configfile", str(study), "--cores", "1")
    assert planned_jobs(snakemake("--dry-run", "--quiet", "rules", *words).stdout)
    weights = {path: path.read_bytes() for path in tmp_path.rglob("backbone.safetensors")}
    touched = snakemake("--touch", *words)
    assert touched.returncode == 0, touched.stdout
    assert planned_jobs(snakemake("--dry-run", "--quiet", "rules", *words).stdout) == {}
    assert {path: path.read_bytes() for path in tmp_path.rglob("backbone.safetensors")} == weights


def test_another_working_folder_without_a_study_plans_the_demo(snakemake: Snakemake, tmp_path: Path) -> None:
    planned = snakemake("--dry-run", "--quiet", "rules", "--directory", str(tmp_path))
    assert planned.returncode == 0, planned.stdout
    assert planned_jobs(planned.stdout)["pretrain"] == 11  # 8 runs and 3 controls
