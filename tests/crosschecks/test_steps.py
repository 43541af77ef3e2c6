"""Before preparation, runs that are too short to show anything give a warning, and batches larger than a folder are
rejected."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from clever.cli import main
from clever.config import Study, parse_study
from clever.crosschecks.missing_data import folder_faults
from clever.crosschecks.steps import FEWEST_STEPS, step_warnings
from clever.crosschecks.teachers import teacher_warnings
from clever.crosschecks.training_images import training_images
from clever.data import DataOptions
from clever.data import folder_files as module
from clever.data.folder_files import training_files
from clever.doctor.study import check_lengths
from clever.results.run_description import read_runs

MEASURED = Path(__file__).parents[2] / "paper_figures" / "measured"


def study(epochs: int, batch_size: int, root: str = "photos", **data: object) -> Study:
    return parse_study(
        {
            "study": "short",
            "data": {"photos": {"source": "image_folder", "root": root, "image_size": 32} | data},
            "backbones": {"small": {"name": "resnet10t_half", "image_size": 32}},
            "augmentations": {"two": {"name": "baug", "global_size": 32, "local_views": 0}},
            "methods": {"byol": {"baseline": {"name": "byol"}}},
            "pretrainings": [
                {
                    "data": "photos",
                    "backbones": ["small"],
                    "methods": ["byol"],
                    "augmentations": ["two"],
                    "optimisation": {"epochs": epochs, "batch_size": batch_size, "warmup_epochs": 0},
                }
            ],
            "evaluations": {"linear": {}},
        },
        "short.yaml",
    )


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 training images of two classes; they are counted by their names and never opened."""
    monkeypatch.chdir(tmp_path)
    for place in ("train/cat", "train/dog/deeper", "val/cat", "val/dog"):
        folder = tmp_path / "data" / "photos" / place
        folder.mkdir(parents=True)
        for number in range(20):
            (folder / f"{number}.JPG").touch()
        (folder / "._0.jpg").touch()
        (folder / "notes.txt").touch()
    return tmp_path / "data" / "photos"


def test_images_are_counted_before_they_are_prepared(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = DataOptions(source="image_folder", root=str(photos), image_size=32)
    assert training_files(options) == 40
    assert training_files(options.model_copy(update={"classes": ["dog"]})) == 20
    assert training_files(options.model_copy(update={"train_limit": 7})) == 7
    assert training_files(options.model_copy(update={"labelled": False})) == 40
    assert training_files(options.model_copy(update={"root": str(photos / "train"), "labelled": False})) == 40
    assert training_files(options.model_copy(update={"root": str(photos / "none")})) is None
    monkeypatch.setattr(module, "COUNTED_AT_MOST", 39)
    assert training_files(options) is None


@pytest.mark.usefixtures("photos")
def test_too_few_steps_and_an_unmoved_teacher_warn(capsys: pytest.CaptureFixture[str]) -> None:
    few = study(epochs=39, batch_size=8)  # five steps an epoch
    (line,) = step_warnings(few, Path("stores"))
    assert "pretrainings.0.optimisation: 195 steps a run" in line
    assert "set epochs to 40 or more" in line
    assert list(step_warnings(study(epochs=40, batch_size=8), Path("stores"))) == []
    (finding,) = check_lengths(few, Path("results"))
    assert (finding.state, finding.text) == ("warning", line)
    (teacher,) = teacher_warnings(few, Path("stores"))
    assert "methods.byol" in teacher

    Path("short.yaml").write_text(yaml.safe_dump(few.model_dump(mode="json", exclude_unset=True)), encoding="utf-8")
    assert main(["check", "short.yaml"]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines() == [f"WARNING, short.yaml: {teacher}", f"WARNING, short.yaml: {line}"]
    assert said.out.startswith("photos/small/byol/two/seed0")


@pytest.mark.usefixtures("photos")
def test_an_unknown_number_of_images_gives_no_message() -> None:
    assert training_images(study(1, 8, root="elsewhere"), "photos", Path("stores")) is None
    assert list(step_warnings(study(1, 8, root="elsewhere"), Path("stores"))) == []
    assert training_images(study(1, 8, root="elsewhere", train_limit=30), "photos", Path("stores")) == 30


@pytest.mark.usefixtures("photos")
def test_a_prepared_store_takes_precedence_over_the_folder() -> None:
    one = study(epochs=39, batch_size=8)
    store = Path("stores/photos/store.json")
    store.parent.mkdir(parents=True)
    options = one.data["photos"].model_dump(mode="json")
    store.write_text(json.dumps({"options": options, "splits": {"train": {"count": 400}}}), encoding="utf-8")
    assert training_images(one, "photos", Path("stores")) == 400
    assert list(step_warnings(one, Path("stores"))) == []


@pytest.mark.usefixtures("photos")
def test_a_batch_larger_than_the_folder_is_rejected_before_preparation(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(folder_faults(study(1, 40), "data", Path("stores"))) == []
    Path("large.yaml").write_text(
        yaml.safe_dump(study(1, 41).model_dump(mode="json", exclude_unset=True)), encoding="utf-8"
    )
    assert main(["check", "large.yaml"]) == 2
    said = capsys.readouterr()
    assert said.err == (
        "error: large.yaml: pretrainings.0.optimisation.batch_size: 41 exceeds the 40 training images of "
        "data.photos in data/photos; lower it\n"
    )
    assert said.out == ""


def test_the_threshold_agrees_with_the_committed_records() -> None:
    """The mean gain in linear accuracy (ALL, orig) over the untrained network, by method and number of steps."""
    short: list[float] = []
    long: list[float] = []
    for file in sorted(MEASURED.glob("*/runs.json")):
        steps = {run["run"]: run["iterations"] for run in read_runs(file)}
        (table,) = file.parent.glob("records.csv*")  # some are compressed
        records = pd.read_csv(table)
        wanted = {"protocol": "linear", "part": "ALL", "perturbation": "orig", "metric": "top1", "selection": "last"}
        for column, value in wanted.items():
            records = records[records[column] == value]
        values: dict[tuple[str, str, str, int], float] = (
            records.assign(steps=records["run"].map(steps))
            .groupby(["data", "backbone", "method", "steps"])["value"]
            .mean()
            .to_dict()
        )
        untrained = {key[:2]: value for key, value in values.items() if key[2] == "untrained"}
        for (data, backbone, method, taken), value in values.items():
            if method != "untrained" and (data, backbone) in untrained:
                (short if taken < FEWEST_STEPS else long).append(value - untrained[data, backbone])
    assert short
    assert max(short) <= 0
    assert sum(gain > 0 for gain in long) > len(long) / 2
