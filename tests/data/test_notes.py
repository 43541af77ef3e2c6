"""The notes that are printed while a data set is prepared and kept in store.json."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clever.data import DataOptions, Store, prepare

from .conftest import ArraysMaker, FolderMaker, noise


def prepared(root: Path, store: Path, **options: Any) -> Store:
    chosen = {"source": "image_folder", "image_size": 8} | options
    return prepare(DataOptions(root=str(root), **chosen), store)


def said(capsys: pytest.CaptureFixture[str], store: Store) -> list[str]:
    """Return the printed notes, after checking that store.json has the same ones."""
    start = f"{store.folder.name}: note: "
    found = [line.removeprefix(start) for line in capsys.readouterr().err.splitlines() if line.startswith(start)]
    assert found == json.loads((store.folder / "store.json").read_text())["notes"]
    return found


def test_an_ordinary_data_set_has_no_notes(
    make_folder: FolderMaker, make_arrays: ArraysMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, prepared(make_folder(), tmp_path / "folder")) == []
    assert said(capsys, prepared(make_arrays(), tmp_path / "arrays", source="arrays", image_size=None)) == []


@pytest.mark.parametrize("layout", ["pixels", "encoded"])
@pytest.mark.parametrize(
    ("most", "words"),
    [(4095, "2 16-bit images have a maximum of 4095 of 65535, and keep 17 of 256 grey levels"), (65535, None)],
)
def test_sixteen_bit_images_that_use_fewer_bits(
    make_folder: FolderMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str, most: int,
    words: str | None,
) -> None:  # fmt: skip
    root = make_folder()
    values = np.linspace(0, most, 16 * 16).round().astype(np.uint16).reshape(16, 16)
    Image.fromarray(values).save(root / "train" / "cat" / "x.png")
    Image.fromarray(values[::-1].copy()).save(root / "val" / "cat" / "x.png")
    store = prepared(root, tmp_path / "store", format=layout)
    notes = said(capsys, store)
    assert [note[: len(words)] for note in notes] == [words] if words else notes == []
    for split in ("train", "test"):
        assert store.info["splits"][split]["sixteen_bit"] == {"count": 1, "brightest": most}


@pytest.mark.parametrize("layout", ["pixels", "encoded"])
def test_an_image_in_both_splits_and_one_under_two_labels(
    make_folder: FolderMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str
) -> None:
    root = make_folder()
    shutil.copy(root / "train" / "cat" / "0.png", root / "val" / "cat" / "copy.png")
    # The same pixels in another format, under another label.
    Image.open(root / "train" / "dog" / "1.png").save(root / "train" / "cat" / "other.bmp")
    store = prepared(root, tmp_path / "store", format=layout)
    assert said(capsys, store) == [
        "1 test images are also training images, pixel by pixel (train/cat/0.png = val/cat/copy.png)",
        "1 images occur with two labels, pixel by pixel (train/cat/other.bmp = train/dog/1.png)",
    ]
    assert store.info["repeats"] == {
        "in_both_splits": 1,
        "under_two_labels": 1,
        "examples_in_both": [["train/cat/0.png", "val/cat/copy.png"]],
        "examples_under_two": [["train/cat/other.bmp", "train/dog/1.png"]],
    }


def test_rows_of_arrays_are_named_by_their_split(
    make_arrays: ArraysMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.stack([noise(seed, 6, 6) for seed in range(20)])
    root = make_arrays(train_images=images, test_images=images[3:10])
    store = prepared(root, tmp_path / "store", source="arrays", image_size=None)
    first, _ = said(capsys, store)
    assert first.startswith("7 test images are also training images, pixel by pixel (row 3 = row 0 of test, ")


@pytest.mark.parametrize(
    ("count", "labels", "words"),
    [
        (40, np.arange(40) // 2, "20 classes of 2 training images each: are the labels object or image numbers?"),
        (40, np.arange(40) // 4, None),
        (2200, np.arange(2200) // 2, "1100 classes of 2 training images each: "),
    ],
)
def test_labels_that_look_like_numbers_of_objects(
    make_arrays: ArraysMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int, labels: Any,
    words: str | None,
) -> None:  # fmt: skip
    root = make_arrays(train=count, train_labels=labels)
    notes = said(capsys, prepared(root, tmp_path / "store", source="arrays", image_size=None))
    assert [note[: len(words)] for note in notes] == [words] if words else notes == []
    (root / "classes.txt").write_text("\n".join(f"name{label}" for label in range(int(labels.max()) + 1)))
    assert said(capsys, prepared(root, tmp_path / "store", source="arrays", image_size=None)) == []


def test_skipped_files_and_an_unread_folder_are_noted(
    make_folder: FolderMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder()
    shutil.copytree(root / "val", root / "test")
    shutil.copy(root / "train" / "cat" / "0.png", root / "train" / "cat" / "._0.png")
    (root / "train" / "cat" / ".ipynb_checkpoints").mkdir()
    shutil.copy(root / "train" / "cat" / "0.png", root / "train" / "cat" / ".ipynb_checkpoints" / "0-checkpoint.png")
    (root / "train" / "__MACOSX").mkdir()
    for name in ("a.jfif", "b.jfif", "c.gif"):
        (root / "train" / "dog" / name).touch()
    (root / "val" / "dog" / "d.avif").touch()
    store = prepared(root, tmp_path / "store")
    assert store.classes == ("cat", "dog")
    assert said(capsys, store) == [
        "val is the test split; the folder test also exists and is not read",
        "5 files ignored in train: 2 .jfif, 2 left by a system or editor, 1 .gif",
        "1 files ignored in test: 1 .avif",
    ]
    train = store.info["splits"]["train"]
    assert (train["count"], train["passed_over"]) == (6, {".jfif": 2, ".gif": 1, "left by a system or editor": 2})


def test_a_single_class_is_noted(make_folder: FolderMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = prepared(make_folder(classes=("cat",)), tmp_path / "store")
    assert said(capsys, store) == ["one class (cat): every accuracy will be 100 %"]


def test_notes_do_not_change_what_a_training_sees(make_folder: FolderMaker, tmp_path: Path) -> None:
    root = make_folder()
    before = prepared(root, tmp_path / "before").checksum
    (root / "train" / "dog" / "a.jfif").touch()
    assert prepared(root, tmp_path / "after").checksum == before
