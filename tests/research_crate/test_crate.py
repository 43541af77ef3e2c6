"""RO-Crates of committed studies: structure, content, checksums, and one-line errors."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from clever.cli import main
from clever.errors import UserError
from clever.research_crate.checking import check_crate
from clever.research_crate.contents import Contents, gather
from clever.research_crate.packing import write_crate

ROOT = Path(__file__).resolve().parents[2]
MEASURED = ROOT / "paper_figures" / "measured"
STUDY = "cifar10_simclr"
METADATA = "ro-crate-metadata.json"
VALIDATOR = ROOT / "build" / "crate_env" / "bin" / "python"


@pytest.fixture(scope="module")
def contents() -> Contents:
    """The files of a crate of a study whose records are committed compressed."""
    return gather(MEASURED / STUDY, None)


@pytest.fixture(scope="module")
def original(contents: Contents, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crates") / STUDY
    write_crate(contents, folder)
    return folder


@pytest.fixture
def crate(original: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(original, tmp_path / "crate")


@pytest.fixture(scope="module")
def entities(original: Path) -> dict[str, dict[str, Any]]:
    graph = json.loads((original / METADATA).read_text(encoding="utf-8"))["@graph"]
    return {entity["@id"]: entity for entity in graph}


def _kinds(entity: dict[str, Any]) -> list[str]:
    kinds = entity["@type"]
    return kinds if isinstance(kinds, list) else [kinds]


def _ids(value: Any) -> list[str]:
    return [item["@id"] for item in (value if isinstance(value, list) else [value])]


def test_its_metadata_is_flat_and_has_no_dangling_references(original: Path) -> None:
    content = json.loads((original / METADATA).read_text(encoding="utf-8"))
    assert set(content) == {"@context", "@graph"}
    address, terms = content["@context"]
    assert address == "https://w3id.org/ro/crate/1.1/context"
    assert set(terms) == {"sha256", "resourceUsage"}
    ids = [entity["@id"] for entity in content["@graph"]]
    assert len(ids) == len(set(ids))
    for entity in content["@graph"]:
        for key, value in entity.items():
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dict):
                    assert set(item) == {"@id"}, f"{entity['@id']}: {key} is nested"
                    assert item["@id"] in ids or item["@id"].startswith("https://"), f"{entity['@id']}: {item['@id']}"
            assert not (isinstance(value, list) and len(value) == 1), f"{entity['@id']}: {key} is a list of one"


def test_every_file_is_described_with_its_size_and_sum(original: Path, entities: dict[str, dict[str, Any]]) -> None:
    described = {address: entity for address, entity in entities.items() if "File" in _kinds(entity)}
    there = {path.relative_to(original).as_posix() for path in original.rglob("*") if path.is_file()}
    assert set(described) == there - {METADATA}
    for name, entity in described.items():
        content = (original / name).read_bytes()
        assert entity["contentSize"] == str(len(content))
        assert entity["sha256"] == hashlib.sha256(content).hexdigest()
        assert entity["encodingFormat"]
    assert set(_ids(entities["./"]["hasPart"])) == set(described)


def test_it_holds_the_files_of_the_study(original: Path) -> None:
    packed = (MEASURED / STUDY / "records.csv.gz").read_bytes()
    assert (original / "results" / "records.csv").read_bytes() == gzip.decompress(packed)
    for path, source in {
        "study.yaml": f"workflow/studies/{STUDY}.yaml",
        "results/runs.json": f"paper_figures/measured/{STUDY}/runs.json",
        "workflow/Snakefile": "workflow/Snakefile",
        "workflow/rules/pretrain.smk": "workflow/rules/pretrain.smk",
        "LICENSE": "LICENSE",
        "requirements.lock": "requirements.lock",
    }.items():
        assert (original / path).read_bytes() == (ROOT / source).read_bytes()
    done = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=original / "results")
    assert done.returncode == 0


def test_the_workflow_and_the_paper_are_named(entities: dict[str, dict[str, Any]]) -> None:
    root, workflow = entities["./"], entities["workflow/Snakefile"]
    assert root["mainEntity"] == {"@id": "workflow/Snakefile"}
    assert _kinds(workflow) == ["File", "SoftwareSourceCode", "ComputationalWorkflow"]
    assert entities[workflow["programmingLanguage"]["@id"]]["name"] == "Snakemake"
    assert root["license"] == {"@id": "https://spdx.org/licenses/MIT"}
    assert entities[root["author"]["@id"]]["name"] == "The CLeVER artifact authors"
    paper = entities[root["citation"]["@id"]]
    assert paper["name"] == "Contrastive Learning Via Equivariant Representation"
    assert len(paper["author"]) == 9
    assert set(_ids(root["conformsTo"])) == {
        "https://w3id.org/ro/wfrun/process/0.5",
        "https://w3id.org/ro/wfrun/workflow/0.5",
        "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
    }
    for parameter in [*_ids(workflow["input"]), *_ids(workflow["output"])]:
        (example,) = _ids(entities[parameter]["workExample"])
        assert entities[example]["exampleOfWork"] == {"@id": parameter}


def test_every_run_is_an_action_with_its_commit_data_and_weights(entities: dict[str, dict[str, Any]]) -> None:
    runs = json.loads((MEASURED / STUDY / "runs.json").read_text(encoding="utf-8"))
    actions = {address for address, entity in entities.items() if entity["@type"] == "CreateAction"}
    assert set(_ids(entities["./"]["mentions"])) == actions
    assert {a for a in actions if a.startswith("#run/")} == {f"#run/{run['run']}" for run in runs}
    for run in runs:
        action = entities[f"#run/{run['run']}"]
        assert entities[action["instrument"]["@id"]]["softwareVersion"] == run["git_commit"]
        assert run["recipe_digest"] in action["description"]
        (data,) = [address for address in _ids(action["object"]) if address.startswith("#data/")]
        assert entities[data]["identifier"] == run["data_checksum"]
        assert entities[action["result"]["@id"]]["sha256"] == run["backbone_sha256"]
        seconds = entities[f"#run/{run['run']}/wall_seconds"]
        assert (float(seconds["value"]), seconds["unitText"]) == (run["wall_seconds"], "s")
        packages = entities[action["instrument"]["@id"]]["softwareRequirements"]
        assert {"name": "torch", "softwareVersion": run["versions"]["torch"]}.items() <= {
            key: value
            for address in _ids(packages)
            if entities[address]["name"] == "torch"
            for key, value in entities[address].items()
        }.items()


def test_every_record_belongs_to_an_evaluation(entities: dict[str, dict[str, Any]]) -> None:
    records = pd.read_csv(MEASURED / STUDY / "records.csv.gz")
    for run, own in records.groupby("run"):
        action = entities[f"#evaluation/{run}"]
        assert action["description"].startswith(f"{len(own)} records of ")
        assert {f"#backbone/{run}", "study.yaml"} <= set(_ids(action["object"]))
        assert action["result"] == {"@id": "results/records.csv"}
        assert entities[action["instrument"]["@id"]]["softwareVersion"] == own["commit"].iloc[0]
    whole = entities["#study"]
    assert whole["instrument"] == {"@id": "workflow/Snakefile"}
    assert f"{len(records)} records" in whole["description"]


def test_a_zip_contains_the_same_files_and_is_reproducible(contents: Contents, original: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.zip", tmp_path / "two.zip"
    paths = write_crate(contents, one)
    write_crate(contents, two)
    assert one.read_bytes() == two.read_bytes()
    assert check_crate(one) == paths
    with zipfile.ZipFile(one) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert check_crate(tmp_path / "unpacked") == paths == check_crate(original)
    for path in [METADATA, *paths]:
        assert (tmp_path / "unpacked" / path).read_bytes() == (original / path).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.zip", "two.zip", "unpacked"]


def _edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Change entities by their ids."""

    def damage(crate: Path) -> None:
        content = json.loads((crate / METADATA).read_text(encoding="utf-8"))
        entities = {entity["@id"]: entity for entity in content["@graph"]}
        change(entities)
        content["@graph"] = list(entities.values())
        (crate / METADATA).write_text(json.dumps(content), encoding="utf-8")

    return damage


def _flip(crate: Path) -> None:
    path = crate / "results" / "records.csv"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_flip, "results/records.csv: its SHA-256 is"),
        (lambda crate: (crate / "study.yaml").open("a").write("\n"), "study.yaml: its size is"),
        (lambda crate: (crate / "LICENSE").unlink(), "LICENSE is missing"),
        (lambda crate: (crate / "results" / "more.csv").write_text("1\n"), "results/more.csv is not described"),
        (lambda crate: (crate / METADATA).write_text("{"), "not valid JSON"),
        (lambda crate: (crate / METADATA).write_text('{"@graph": [{}]}'), "a list of entities with an @id"),
        (_edit(lambda found: found.pop("#data/cifar10")), "refers to #data/cifar10, which is not described"),
        (_edit(lambda found: found["LICENSE"].pop("sha256")), "LICENSE: its SHA-256 is"),
        (_edit(lambda found: found.update(twice=found["LICENSE"])), "two entities have the same @id"),
    ],
    ids=["bit", "byte", "file", "unknown", "json", "graph", "reference", "sum", "twice"],
)
def test_damage_is_found(
    damage: Callable[[Path], object], message: str, crate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["provenance", str(crate)]) == 0
    damage(crate)
    capsys.readouterr()
    assert main(["provenance", str(crate)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_damaged_archive_is_refused(contents: Contents, tmp_path: Path) -> None:
    path = tmp_path / "crate.zip"
    write_crate(contents, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"is not a readable \.zip file"):
        check_crate(path)
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    with pytest.raises(UserError, match=r"cannot be read|its SHA-256 is|its size is"):
        check_crate(path)


def test_drawings_of_images_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = shutil.copytree(MEASURED / "paper_cpu", tmp_path / "paper_cpu")
    (results / "paper").mkdir()
    for name in ("table_1.md", "figure_claims.svg", "figure_gallery.png", "figure_saliency.svg", "report.html", "note"):
        (results / "paper" / name).write_text(name)
    crate = tmp_path / "crate"
    assert main(["provenance", "--crate", str(crate), str(results)]) == 0
    held = {path.name for path in (crate / "results" / "paper").iterdir()}
    assert held == {"table_1.md", "figure_claims.svg"}
    line = "images of a data set: paper/figure_saliency.svg, paper/figure_gallery.png, paper/report.html"
    assert line in capsys.readouterr().out
    assert line in (crate / "README.md").read_text(encoding="utf-8")
    action = json.loads((crate / METADATA).read_text(encoding="utf-8"))["@graph"]
    (whole,) = [entity for entity in action if entity["@id"] == "#study"]
    assert {"results/paper/table_1.md", "results/paper/figure_claims.svg"} <= set(_ids(whole["result"]))


COMMITTED = str(MEASURED / "cifar10_cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--crate", "new", "absent"], "absent: is not a folder"),
        (["--crate", "new", COMMITTED, COMMITTED], "give one FILE"),
        (["--crate", "new", COMMITTED, "--run", "x"], "--run: does not apply"),
        (["--crate", "new", COMMITTED, "--json"], "--json: does not apply"),
        (["--crate", "new", COMMITTED, "--weights"], "leave --weights out"),
        (["--crate", "new", COMMITTED, "--study", str(ROOT / "config.yaml")], "is not a run of"),
        (["--crate", "full", COMMITTED], "full: is not empty"),
        (["--crate", "full/file", COMMITTED], "full/file: is a file"),
        (["--crate", "full/file/more", COMMITTED], "could not be written"),
        (["--crate", "new", "full"], "no study full"),
        (["--study", "x", f"{COMMITTED}/records.csv"], "--study: needs --crate"),
        (["--weights", f"{COMMITTED}/records.csv"], "--weights: needs --crate"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_unsuitable_folders_are_rejected(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    monkeypatch.chdir(tmp_path)
    assert main(["provenance", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full"]


def test_damaged_records_make_no_crate(tmp_path: Path) -> None:
    results = shutil.copytree(MEASURED / "cifar10_cpu", tmp_path / "cifar10_cpu")
    records = results / "records.csv"
    records.write_text(records.read_text().replace("top1", "top5", 1))
    with pytest.raises(UserError, match=f"{records}: was changed or damaged"):
        gather(results, None)


def test_a_missing_library_is_named(contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"needs rocrate: pip install '\.\[crate\]'"):
        write_crate(contents, tmp_path / "crate")


def test_the_validator_accepts_it_and_rejects_incomplete_ones(crate: Path) -> None:
    if not VALIDATOR.is_file():
        pytest.skip("build/crate_env is absent: make crate")

    def validate() -> subprocess.CompletedProcess[str]:
        command = [str(VALIDATOR), str(Path(__file__).with_name("validate.py")), str(crate)]
        return subprocess.run(command, capture_output=True, text=True)

    done = validate()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 skipped" in done.stdout
    _edit(lambda found: found["#study"].pop("instrument"))(crate)
    done = validate()
    assert done.returncode == 1
    assert "process-run-crate-0.5_1.1" in done.stdout
