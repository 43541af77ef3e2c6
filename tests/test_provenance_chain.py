"""`clever provenance`: an intact chain, and chains with each link broken once."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clever.cli import main
from clever.config import load_study

from .miniature import RUN, miniature

STUDY = miniature(
    small=True,
    study="chained",
    controls=[],
    paper=["report"],
    evaluations={"linear": None, "knn": {"perturbations": ["orig"], "neighbours": [3, 5]}},
)
MEASURED = Path(__file__).resolve().parents[1] / "paper_figures" / "measured" / "cifar10_cpu"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a study, as the workflow lays it out."""
    folder = tmp_path_factory.mktemp("original")
    study, results = folder / "study.yaml", folder / "chained"
    study.write_text(STUDY)
    run, store, knn = results / "runs" / RUN, results / "data" / "digits", results / "evaluations" / RUN / "knn.json"
    given = ["--study", str(study)]
    assert main(["prepare", *given, "--data", "digits", "--output", str(store)]) == 0
    onto = ["--store", str(store), "--threads", "1", "--device", "cpu"]
    assert main(["pretrain", *given, "--run", RUN, *onto, "--output", str(run)]) == 0
    assert main(["evaluate", *given, "--run", str(run), *onto, "--output-folder", str(knn.parent)]) == 0
    assert main(["collect", "--evaluations", str(knn), "--runs", str(run), "--output", str(results)]) == 0
    return results


@pytest.fixture
def results(original: Path, tmp_path: Path) -> Path:
    """A copy of the results folder, to be damaged."""
    return shutil.copytree(original, tmp_path / "chained")


def _change(path: Path, *keys: str | int, to: object) -> None:
    """Set one value of a JSON file."""
    content: Any = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    assert inner[keys[-1]] != to
    inner[keys[-1]] = to
    path.write_text(json.dumps(content))


def _change_rows(path: Path, column: str, to: str) -> None:
    """Set one column of the first row of a CSV."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0][column] != to
    rows[0][column] = to
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _files(results: Path) -> dict[str, Path]:
    return {
        "knn.json": results / "evaluations" / RUN / "knn.json",
        "run.json": results / "runs" / RUN / "run.json",
        "store.json": results / "data" / "digits" / "store.json",
        "records.csv": results / "records.csv",
        "runs.json": results / "runs.json",
    }


@pytest.mark.parametrize("start", ["knn.json", "records.csv"])
def test_an_intact_chain_leads_from_the_record_to_the_data(
    results: Path, start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = _files(results)
    capsys.readouterr()
    assert main(["provenance", str(files[start]), "--json"]) == 0
    (chain,) = json.loads(capsys.readouterr().out)
    assert (chain["run"], chain["protocol"], chain["broken"], chain["missing"]) == (RUN, "knn", [], [])
    assert {link["what"]: link["where"] for link in chain["links"]} == {
        "records": str(files["records.csv"]),
        "evaluation": str(files["knn.json"]),
        "run": str(files["run.json"]),
        "store": str(files["store.json"]),
    }
    facts = {link["what"]: link["facts"] for link in chain["links"]}
    run = json.loads(files["run.json"].read_text())
    assert facts["run"]["seed"] == 0
    assert facts["run"]["trained_by"] == run["trained_by"] != []
    assert facts["evaluation"]["options"]["neighbours"] == [3, 5]
    assert facts["store"]["counts"] == {"train": 60, "test": 40}
    # Two values of k for each of three parts.
    assert {(r["protocol"], r["part"]) for r in chain["records"]} == {
        (name, part) for name in ("knn3", "knn5") for part in ("ALL", "IR", "EF")
    }
    with files["records.csv"].open(newline="") as file:
        assert sorted(float(row["value"]) for row in csv.DictReader(file)) == sorted(
            r["value"] for r in chain["records"]
        )


def test_it_can_be_printed_as_text(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["provenance", str(results / "records.csv"), "--part", "EF", "--protocol", "knn3"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.count("  record      ") == 1
    assert "  record      EF orig top1 (last, epoch 0): " in shown.out
    for what in ("records", "evaluation", "run", "store"):
        assert f"\n  {what:<11} {results}" in shown.out
    assert "comparisons hold, 0 do not" in shown.out
    assert "not here" not in shown.out


def test_a_run_has_a_chain_too(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = _files(results)
    capsys.readouterr()
    assert main(["provenance", str(files["run.json"]), "--json"]) == 0
    (chain,) = json.loads(capsys.readouterr().out)
    assert [link["what"] for link in chain["links"]] == ["run", "store"]
    assert (chain["protocol"], chain["records"], chain["broken"], chain["missing"]) == (None, [], [], [])


def test_the_digest_is_recomputed_as_the_study_computes_it(original: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = load_study(original.parent / "study.yaml").recipe(RUN).digest
    capsys.readouterr()
    assert main(["provenance", str(original / "runs" / RUN / "run.json"), "--json"]) == 0
    (chain,) = json.loads(capsys.readouterr().out)
    assert chain["links"][0]["facts"]["recipe_digest"] == expected
    assert [line for line in chain["holds"] if line.startswith("recipe digest: ")]


Damage = Callable[[dict[str, Path]], None]


@pytest.mark.parametrize(
    ("damage", "start", "sides"),
    [
        (
            lambda f: _change(f["run.json"], "recipe", "optimisation", "epochs", to=7),
            "run.json",
            ["recipe digest", "run.json says", "the recipe in it says"],
        ),
        (
            lambda f: _change(f["run.json"], "recipe", "seed", to=4),
            "run.json",
            ["run id", RUN, "digits/tiny/dino+clever/caug/seed4"],
        ),
        (
            lambda f: _change(f["run.json"], "data_checksum", to="0" * 64),
            "run.json",
            ["data checksum", "run.json says 0000", "store.json says"],
        ),
        (
            lambda f: _change(f["store.json"], "checksum", to="1" * 64),
            "run.json",
            ["data checksum", "run.json says", "store.json says 1111"],
        ),
        (
            lambda f: _change(f["store.json"], "files", "train_labels.npy", "sha256", to="2" * 64),
            "run.json",
            ["data checksum", "store.json says", "the files listed in it says"],
        ),
        (
            lambda f: _change(f["runs.json"], 0, "hardware", "cores", to=999),
            "run.json",
            ["run.hardware.cores", "run.json says", "runs.json says 999"],
        ),
        (
            lambda f: _change(f["knn.json"], "provenance", "run", "wall_seconds", to=123.25),
            "knn.json",
            ["run.wall_seconds", "knn.json says 123.25", "run.json says"],
        ),
        (
            lambda f: _change(f["knn.json"], "records", 0, "commit", to="abad1dea"),
            "knn.json",
            ["records' commit", "knn.json says abad1dea", "the run described in"],
        ),
        (
            lambda f: _change(f["knn.json"], "records", 0, "value", to=12.5),
            "knn.json",
            ["value", "records.csv says", "knn.json says 12.5"],
        ),
        (
            lambda f: _change_rows(f["records.csv"], "value", "99.875"),
            "records.csv",
            ["value", "records.csv says 99.875", "knn.json says"],
        ),
        (
            lambda f: _change_rows(f["records.csv"], "part", "FE"),
            "records.csv",
            ["FE orig top1", "the table says", "knn.json has no such record"],
        ),
    ],
)
def test_a_broken_link_gives_one_line_with_both_sides(
    results: Path, capsys: pytest.CaptureFixture[str], damage: Damage, start: str, sides: list[str]
) -> None:
    files = _files(results)
    damage(files)
    capsys.readouterr()
    assert main(["provenance", str(files[start])]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: broken link: ")
    assert shown.err.count("\n") == 1
    (line, *_) = [line for line in shown.out.splitlines() if "BROKEN" in line and sides[0] in line]
    assert all(side in line for side in sides), line


def test_an_evaluation_in_the_wrong_place_is_reported(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = results / "evaluations" / RUN.replace("seed0", "seed4") / "knn.json"
    elsewhere.parent.mkdir()
    shutil.copy(_files(results)["knn.json"], elsewhere)
    assert main(["provenance", str(elsewhere)]) == 2
    error = capsys.readouterr().err
    assert f"the file's path says {elsewhere.relative_to(results)}" in error
    assert f"evaluations/{RUN}/knn.json" in error


@pytest.mark.parametrize("changed", [False, True])
def test_a_recorded_sha256_is_compared_with_the_file(
    results: Path, capsys: pytest.CaptureFixture[str], changed: bool
) -> None:
    run, backbone = _files(results)["run.json"], results / "runs" / RUN / "backbone.safetensors"
    description = json.loads(run.read_text())
    description["backbone_sha256"] = hashlib.sha256(backbone.read_bytes()).hexdigest()
    run.write_text(json.dumps(description))
    (results / "runs.json").unlink()
    if changed:
        content = bytearray(backbone.read_bytes())
        content[-1] ^= 1
        backbone.write_bytes(content)
    capsys.readouterr()
    assert main(["provenance", str(run)]) == (2 if changed else 0)
    shown = capsys.readouterr()
    assert (f"SHA-256: {backbone} says" in shown.err) == changed
    assert f"{results / 'runs.json'}: no description of {RUN} has been collected" in shown.out


def test_missing_files_are_reported_and_break_nothing(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = _files(results)
    shutil.rmtree(results / "data")
    files["run.json"].unlink()
    capsys.readouterr()
    assert main(["provenance", str(files["records.csv"])]) == 0
    shown = capsys.readouterr().out
    assert f"not here    {files['run.json']}: " in shown
    assert f"not here    {files['store.json']}: " in shown
    alone = results.parent / "knn.json"
    shutil.copy(files["knn.json"], alone)
    assert main(["provenance", str(alone)]) == 0
    assert "not here    a results folder: " in capsys.readouterr().out


def test_committed_records_agree_with_their_runs(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["provenance", str(MEASURED / "records.csv"), "--perturbation", "orig", "--json"]) == 0
    chains = json.loads(capsys.readouterr().out)
    assert len(chains) == 18  # six runs; linear, knn20 and knn200
    for chain in chains:
        assert [line.split(":")[0] for line in chain["holds"]] == [
            "records' run", "records' commit", "records' recipe_digest", "records' data_checksum", "recipe digest",
            "run id",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["records.csv", "--run", "nobody"], "no record of run nobody found"),
        (["knn.json", "--metric", "top7"], "no record of metric top7 found"),
        (["absent.json"], "absent.json: cannot be read"),
        (["store.json"], "is not an evaluation file"),
        (["runs.json"], "is not an evaluation file"),
    ],
)
def test_user_errors_give_one_line(
    original: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    files = _files(original) | {"absent.json": original / "absent.json"}
    capsys.readouterr()
    assert main(["provenance", *(str(files.get(word, word)) for word in arguments)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert message in shown.err


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"run": "x", "recipe": []}'])
def test_a_damaged_run_is_named(results: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    run = _files(results)["run.json"]
    run.write_text(content)
    assert main(["provenance", str(_files(results)["knn.json"])]) == 2
    assert f"error: {run}" in capsys.readouterr().err


def test_a_crate_contains_the_runs_evaluations_and_weights(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crate = tmp_path / "crate"
    given = ["--study", str(original.parent / "study.yaml"), "--crate", str(crate)]
    assert main(["provenance", str(original), *given, "--weights"]) == 0
    held = {path.relative_to(crate / "results").as_posix() for path in (crate / "results").rglob("*") if path.is_file()}
    names = ("run.json", "metrics.csv", "backbone.safetensors")
    expected = {f"runs/{RUN}/{name}" for name in names} | {f"evaluations/{RUN}/knn.json", "data/digits/store.json"}
    assert held == expected | {"records.csv", "runs.json", "curves.csv", "SHA256SUMS"}
    for name in held:
        assert (crate / "results" / name).read_bytes() == (original / name).read_bytes()
    graph = json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]
    entities = {entity["@id"]: entity for entity in graph}
    folder = f"results/runs/{RUN.replace('+', '%2B')}"
    results = entities[f"#run/{RUN}"]["result"]
    assert results == [{"@id": f"{folder}/backbone.safetensors"}, {"@id": f"{folder}/metrics.csv"}]
    assert entities[f"#evaluation/{RUN}"]["result"]["@id"].endswith("/knn.json")
    assert {"@id": f"{folder}/backbone.safetensors"} in entities[f"#evaluation/{RUN}"]["object"]
    assert main(["provenance", str(crate)]) == 0
    # The chain of a number also works inside the crate.
    assert main(["provenance", str(crate / "results" / "evaluations" / RUN / "knn.json")]) == 0
    capsys.readouterr()


def test_a_crate_needs_the_weights_that_the_runs_describe(
    results: Path, original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = results / "runs" / RUN / "backbone.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    given = ["--study", str(original.parent / "study.yaml"), "--crate", str(tmp_path / "crate")]
    assert main(["provenance", str(results), *given, "--weights"]) == 2
    assert "its SHA-256 is not the one in" in capsys.readouterr().err
    assert not (tmp_path / "crate").exists()
    assert main(["provenance", str(results), *given]) == 0
