"""``clever study new``: valid studies for folders of every kind, and one-line errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clever.cli import main
from clever.config import load_study
from clever.new_study import Folder, choose, inspect, study_text, unlabelled_note

MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Write images of 40 x 30 px: the given number in each of these sub-folders of ``photos``."""

    def make(**counts: int) -> Path:
        root = tmp_path / "My Photos"
        root.mkdir()
        generator = np.random.default_rng(0)
        for name, count in counts.items():
            folder = root / name.replace("__", "/")
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (30, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
        return root

    return make


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ({"train__a": 40, "train__b": 40, "val__a": 4}, "because class b is in train alone; "),
        ({"train__a": 40, "train__b": 40, "val__a": 4, "val__b": 4, "val__c": 4}, "because class c is in val alone; "),
        ({"train__a": 80, "val__a": 4}, "because train has one class; "),
        ({"train": 80, "val": 4}, "labels, because train has no class folders; "),
        ({"train__a": 80}, "labels, and nothing is evaluated, because there is no val; "),
    ],
)
def test_missing_labels_are_explained(make_folder: MakeFolder, counts: dict[str, int], reason: str) -> None:
    note = unlabelled_note(inspect(make_folder(**counts)))
    assert note is not None
    assert reason in note


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize(
    ("counts", "labelled", "protocols"),
    [
        ({"train__a": 40, "train__b": 40, "val__a": 4, "val__b": 4}, True, {"linear", "knn"}),
        ({"train": 70, "val": 5}, False, {"parameters"}),
        ({"train__a": 40, "train__b": 40}, False, set()),
        ({"2023__may": 40, "2024": 40}, False, set()),
    ],
)
def test_the_study_is_valid_and_fits_the_folder(
    make_folder: MakeFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    counts: dict[str, int],
    labelled: bool,
    protocols: set[str],
    device: str,
) -> None:
    root, file = make_folder(**counts), tmp_path / "mine.yaml"
    assert main(["study", "new", "--images", str(root), "--to", str(file), "--device", device]) == 0
    said, *note = capsys.readouterr().err.splitlines()
    assert said.startswith(f"{file}: ")
    assert bool(note) != labelled
    for line in note:
        assert "needed for linear, knn, logistic, semi, corruption" in line
    study = load_study(file)
    data = study.data["my_photos"]
    assert data.root == str(root)
    assert data.labelled == labelled
    assert set(study.evaluation_options()) == protocols
    (block,) = study.blocks()
    assert data.image_size == 32
    assert block.optimisation.batch_size == 16 if sum(counts.values()) < 100 else True
    assert main(["check", str(file), "--data-root", str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""


def test_the_committed_example_equals_its_output() -> None:
    file = Path(__file__).parents[1] / "workflow" / "studies" / "own_images.yaml"
    written = study_text(
        Folder(Path("photos"), 600, 200, 20, 215), "cpu", "own_images", "workflow/studies/own_images.yaml"
    )
    assert file.read_text(encoding="utf-8") == written


def test_a_name_with_a_line_break_stays_in_its_comment(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder(**{"train__a": 40, "train__b\nstudy: c": 40, "val__a": 4})
    root = root.rename(root.with_name("my\nstudy: photos"))
    file = tmp_path / "mine.yaml"
    assert main(["study", "new", "--images", str(root), "--to", str(file), "--name", "mine"]) == 0
    study = load_study(file)
    assert (study.study, study.data["mine"].root) == ("mine", str(root))


def test_more_images_mean_fewer_epochs_and_larger_batches() -> None:
    few, many = (choose(Folder(Path("x"), count, 0, 0, 300), "gpu") for count in (500, 100_000))
    assert few.epochs > many.epochs
    assert few.batch_size < many.batch_size == 256
    assert (few.image_size, few.backbone, many.backbone) == (224, "resnet18", "resnet50")
    assert choose(Folder(Path("x"), 500, 0, 0, 300), "cpu").image_size == 64
    assert choose(Folder(Path("x"), 500, 0, 0, 50), "gpu").image_size == 32


def test_every_choice_has_a_reason() -> None:
    text = study_text(Folder(Path("x"), 600, 200, 20, 200), "cpu", "x", "x.yaml")
    lines = text.splitlines()
    for key in ("image_size:", "epochs:", "warmup_epochs:", "batch_size:", "learning_rate:", "global_scale:", "seeds:"):
        place = next(place for place, line in enumerate(lines) if line.strip().startswith(key))
        before = [line.strip() for line in lines[max(place - 9, 0) : place]]
        assert any(line.startswith("#") for line in before), key
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train": 5}, "5 images there or below"),
        ({"val": 70}, "has val but no train"),
        ({}, "0 images there or below"),
    ],
)
def test_an_unusable_folder_is_refused_in_one_line(
    make_folder: MakeFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    counts: dict[str, int],
    message: str,
) -> None:
    root, file = make_folder(**counts), tmp_path / "mine.yaml"
    assert main(["study", "new", "--images", str(root), "--to", str(file)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not file.exists()


def test_images_that_cannot_be_read_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        for number in range(70):
            (tmp_path / split / f"{number}.jpg").write_bytes(b"no image")
    assert main(["study", "new", "--images", str(tmp_path), "--to", str(tmp_path / "mine.yaml")]) == 2
    assert "none of 25 images can be read" in capsys.readouterr().err


def test_an_existing_file_and_a_missing_folder_are_refused(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine", encoding="utf-8")
    assert main(["study", "new", "--images", str(make_folder(train=70)), "--to", str(file)]) == 2
    assert file.read_text(encoding="utf-8") == "mine"
    assert main(["study", "new", "--images", str(tmp_path / "none"), "--to", str(tmp_path / "new.yaml")]) == 2
    assert "no such folder" in capsys.readouterr().err
