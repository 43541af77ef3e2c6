"""The code that counts for a job, compared with the code that runs, and after an edit of every file in turn."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml

from clever.baselines import BASELINES
from clever.code_closure import SOURCE, code_closure
from clever.config import parse_study
from clever.data import SOURCES
from clever.equivariance import EQUIVARIANCES
from clever.evaluation import PROTOCOLS
from clever.job_code import (
    BORDERS,
    READING,
    collection_code,
    digest,
    drawing_code,
    evaluation_code,
    preparation_code,
    training_code,
)

from .miniature import miniature

PACKAGE = SOURCE / "clever"
FIGURES = SOURCE.parent / "paper_figures"
METHODS = [*((name, "none") for name in BASELINES), *(("vicreg", name) for name in EQUIVARIANCES)]

PROGRAM = """
import json, sys
from pathlib import Path
import clever.cli  # before the trace: an import runs every package's __init__
import clever.pretraining.engine, clever.evaluation.job
used = set()
def trace(frame, event, argument):
    # Not a package's __getattr__, which imports a name that the package re-exports.
    if event == "call" and frame.f_code.co_name != "__getattr__":
        used.add(frame.f_code.co_filename)
import threading
threading.setprofile(trace)
sys.setprofile(trace)
status = clever.cli.main(sys.argv[1:])
sys.setprofile(None)
print("USED " + json.dumps(sorted(used)))
sys.exit(status)
"""

STUDY = miniature(
    small=True,
    methods={
        "dino+clever": None,
        "vicreg+sie": {
            "baseline": {"name": "vicreg", "out_dim": 16, "hidden_dim": 16},
            "equivariance": {"name": "sie"},
        },
    },
    pretraining={"methods": ["vicreg+sie"]},
    evaluations={"linear": {"perturbations": ["orig", "cj"], "training_views": "fresh", "epochs": 1}},
)


def names(files: tuple[Path, ...]) -> set[str]:
    return {file.relative_to(PACKAGE).as_posix() for file in files}


def is_border(file: str) -> bool:
    module = ".".join(Path(file).relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    return any(fnmatchcase(module, pattern) for pattern in BORDERS)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The package's files in which a function was called, by job: a preparation, a training and an evaluation."""
    folder = tmp_path_factory.mktemp("traced")
    study = parse_study(yaml.safe_load(STUDY), "study")
    recipe = study.recipe("digits/tiny/vicreg+sie/caug/seed0")
    store = ("--store", "store", "--device", "cpu")
    jobs = {
        "prepare": ["--options", study.data_options("digits").canonical(), "--output", "store"],
        "pretrain": ["--recipe", recipe.canonical(), *store, "--output", "run"],
        "evaluate": [
            *("--options", json.dumps({"linear": study.evaluation_options()["linear"].model_dump(mode="json")})),
            *("--run", "run", *store, "--output-folder", "evaluations"),
        ],
    }
    used = {}
    for job, arguments in jobs.items():
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, job, *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        listed = json.loads(done.stdout.rpartition("USED ")[2])
        used[job] = {file for file in listed if Path(file).is_relative_to(PACKAGE)}
        assert len(used[job]) > 5
    return used


@pytest.mark.parametrize(
    ("job", "counted"),
    [
        ("prepare", preparation_code("digits")),
        ("pretrain", training_code("vicreg", "sie")),
        ("evaluate", evaluation_code("linear")),
    ],
)
def test_all_executed_code_counts_or_is_behind_a_border(
    traced: dict[str, set[str]], job: str, counted: tuple[Path, ...]
) -> None:
    beyond = {Path(file).relative_to(PACKAGE).as_posix() for file in traced[job] if not is_border(file)}
    # After an evaluation the command deletes the training state that the run no longer needs.
    assert beyond - names(counted) == {"cli.py"} | ({"pretraining/state.py"} if job == "evaluate" else set())


def test_gradients_of_several_processes_count() -> None:
    assert "collectives.py" in names(training_code("simclr", "none"))
    assert "collectives.py" in names(training_code(None, None))


@pytest.mark.parametrize(("baseline", "equivariance"), METHODS)
def test_a_run_depends_only_on_the_files_of_its_method(baseline: str, equivariance: str) -> None:
    whole, shared = set(training_code(baseline, equivariance)), set(training_code(None, None))
    own = whole - shared
    kinds = BASELINES[baseline].kind, EQUIVARIANCES[equivariance].kind
    needed = {Path(str(sys.modules[kind.__module__].__file__)) for kind in kinds}
    inherited = {Path(str(sys.modules[c.__module__].__file__)) for kind in kinds for c in kind.__mro__[:-1]}
    assert needed <= own
    assert {file for file in inherited if file.is_relative_to(PACKAGE)} <= whole
    others = {
        Path(str(sys.modules[kind.__module__].__file__)) for kind in (entry.kind for entry in BASELINES.values())
    } - inherited
    assert "baselines/__init__.py" not in names(tuple(own))
    assert "equivariance/__init__.py" not in names(tuple(own))
    assert len(own & others) <= 1  # a baseline that uses another one's projector


def test_a_control_run_depends_on_no_method() -> None:
    kinds = [entry.kind for entry in (*BASELINES.values(), *EQUIVARIANCES.values())]
    methods = {Path(str(sys.modules[kind.__module__].__file__)) for kind in kinds}
    assert not methods & set(training_code(None, None))


def test_training_imports_neither_evaluation_nor_study_nor_tables() -> None:
    closure = code_closure(["clever.pretraining.engine"])
    rooms = ("clever.evaluation", "clever.config", "clever.study_file", "clever.doctor", "clever.progress")
    assert not [module for module in closure if module.startswith((*rooms, "clever.results.records"))]
    program = "import sys, clever.pretraining.engine; print([m for m in sys.modules if m.split('.')[0] in "
    program += "('pandas', 'snakemake') or m.startswith(('clever.evaluation', 'clever.config'))])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_results_and_the_code_closure_need_no_torch() -> None:
    program = (
        "import sys, clever.results.records, clever.results.curves, clever.job_code; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("pattern", sorted({*BORDERS, *READING}))
def test_every_border_exists(pattern: str) -> None:
    everything = [".".join(file.relative_to(SOURCE).with_suffix("").parts) for file in PACKAGE.rglob("*.py")]
    assert [module for module in everything if fnmatchcase(module.removesuffix(".__init__"), pattern)]


def test_one_edit_of_every_file_in_turn(tmp_path: Path) -> None:
    """The digest in run.json changes with every file that counts, and only with these."""
    shutil.copytree(SOURCE / "clever", tmp_path / "clever", ignore=shutil.ignore_patterns("__pycache__"))
    counted = training_code("dino", "clever", tmp_path)
    assert names(training_code("dino", "clever")) == {f.relative_to(tmp_path / "clever").as_posix() for f in counted}
    before = digest(counted, tmp_path)
    assert before == digest(training_code("dino", "clever"))  # independent of the package's location
    changed = set()
    for file in sorted((tmp_path / "clever").rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        file.write_text(f"{text}# Edited.\n", encoding="utf-8")
        if digest(counted, tmp_path) != before:
            changed.add(file)
        file.write_text(text, encoding="utf-8")
    assert changed == set(counted)
    assert {file.name for file in changed} >= {"dino.py", "ddcl.py", "collectives.py", "trainer.py", "crop.py"}
    assert not {file.name for file in changed} & {"run_report.py", "knn.py", "byol.py", "config.py", "probe.py"}


def test_a_new_file_counts_without_being_named(tmp_path: Path) -> None:
    shutil.copytree(SOURCE / "clever", tmp_path / "clever", ignore=shutil.ignore_patterns("__pycache__"))
    schedules = tmp_path / "clever" / "pretraining" / "schedules.py"
    schedules.with_name("new.py").write_text("")
    schedules.write_text(schedules.read_text(encoding="utf-8") + "\nimport clever.pretraining.new\n")
    assert schedules.with_name("new.py") in training_code("dino", "none", tmp_path)


def reader(source: str) -> str:
    """The name of the file that reads a source."""
    read = SOURCES[source].read
    return Path(sys.modules[getattr(read, "func", read).__module__].__file__ or "").name


@pytest.mark.parametrize("name", list(SOURCES))
def test_a_store_depends_on_its_own_source(name: str) -> None:
    found = names(preparation_code(name))
    own = reader(name)
    sources = {reader(other) for other in SOURCES}
    read = {file.removeprefix("data/") for file in found} & sources
    assert own in read
    assert read - {own} <= {"arrays.py"}  # CIFAR can also be read from arrays
    assert {"data/preparation.py", "data/writing.py"} <= found


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_an_evaluation_depends_on_its_own_protocol(name: str) -> None:
    found = names(evaluation_code(name))
    protocol = PROTOCOLS[name]
    own = {Path(sys.modules[part.__module__].__file__ or "") for part in (protocol.evaluate, protocol.options)}
    assert {file.relative_to(PACKAGE).as_posix() for file in own} | {"evaluation/job.py"} <= found
    assert f"evaluation/options/{name}.py" in found
    assert name not in ("linear", "knn", "latents") or "evaluation/features.py" in found
    others = {path for other in PROTOCOLS if other != name for path in files_of(other)}
    # semi shares the learning rate of linear probes; stages is a linear probe on other features.
    used = {"semi": ("linear",), "transfer": ("linear", "logistic"), "stages": ("linear",)}
    assert found & others <= {path for other in used.get(name, ()) for path in files_of(other)}


def files_of(protocol: str) -> set[str]:
    """The files of a protocol's code and options."""
    folders = (f"evaluation/{protocol}.py", f"evaluation/{protocol}/protocol.py")
    return {*folders, f"evaluation/options/{protocol}.py"}


def test_tables_and_figures_depend_on_the_code_that_reads_records() -> None:
    assert {"results/records.py", "results/curves.py", "results/tables.py"} <= names(collection_code())
    for script in ("table_1", "report", "findings"):
        found = drawing_code(FIGURES / f"{script}.py")
        assert {FIGURES / f"{script}.py", FIGURES / "tables.py", PACKAGE / "results" / "records.py"} <= set(found)
    assert FIGURES / "verdicts.py" in drawing_code(FIGURES / "findings.py")
    assert FIGURES / "verdicts.py" not in drawing_code(FIGURES / "table_1.py")
