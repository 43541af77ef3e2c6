"""Protocol semi with lists of file names: a store keeps the names, chosen rows are recorded, missing images are
reported."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from clever.data import DataOptions, Store, prepare
from clever.data.store import NAMES
from clever.errors import UserError
from clever.evaluation.file_list import read_list
from clever.evaluation.labelled_subset import missing_names
from clever.evaluation.notes import collected_notes
from clever.evaluation.options.semi import SemiOptions
from clever.evaluation.semi import evaluate

from .subjects import subject_of
from .toys import SIDE, TwoParts

QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 8, "perturbations": ["orig"], "parts": ["ALL"]}
SAMPLES = [folder / "shared" / "data" / "unpack.py" for folder in Path(__file__).resolve().parents[2:]]


def photographs(root: Path, number: int = 1) -> None:
    """Images of noise, 8 px, with ImageNet's layout and file names; the first image of each class has number
    ``number``."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 4)):
        for kind in ("n01", "n02"):
            (root / split / kind).mkdir(parents=True)
            for place in range(count):
                pixels = draw.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
                path = root / split / kind / f"{kind}_{number + place}.png"
                Image.fromarray(pixels).save(path)


def prepared(root: Path, folder: Path, **options: Any) -> Store:
    chosen = {"image_size": SIDE} | options
    return prepare(DataOptions(source="image_folder", root=str(root), **chosen), folder, progress=False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    photographs(tmp_path / "photos")
    return prepared(tmp_path / "photos", tmp_path / "store")


def written(path: Path, *names: str) -> dict[str, str]:
    path.write_text("\n".join(names) + "\n")
    return {"own": str(path)}


@pytest.mark.parametrize("options", [{}, {"format": "encoded"}, {"format": "encoded", "linked": True}])
def test_a_store_keeps_the_names_of_its_files(options: dict[str, Any], tmp_path: Path) -> None:
    photographs(tmp_path / "photos")
    (tmp_path / "photos/train/n01/n01_9.png").write_bytes(b"damaged")
    store = prepared(tmp_path / "photos", tmp_path / "store", unreadable_limit=1, **options)
    expected = [f"train/{kind}/{kind}_{place}.png" for kind in ("n01", "n02") for place in range(1, 7)]
    assert store.names("train") == expected
    assert len(store.names("test")) == len(store.split("test")) == 8
    store.verify()
    path = store.folder / NAMES.format("train")
    path.write_text(path.read_text().replace("n01_1", "n01_7"))
    for check in (store.verify, lambda: store.names("train")):
        with pytest.raises(UserError, match=r"train_names\.json: sha256 is"):
            check()


def test_names_do_not_change_the_checksum(store: Store, tmp_path: Path) -> None:
    photographs(tmp_path / "renamed", number=3)
    again = prepared(tmp_path / "renamed", tmp_path / "again")
    assert again.names("train") != store.names("train")
    assert again.checksum == store.checksum


def test_a_list_of_all_images_equals_a_share_of_one_bit_for_bit(store: Store, tmp_path: Path) -> None:
    lists = written(tmp_path / "all.txt", *(Path(name).name for name in store.names("train")))
    subject = subject_of(TwoParts(), store)
    found = evaluate(subject, SemiOptions(shares=[], lists=lists, **QUICK))
    whole = evaluate(subject_of(TwoParts(), store), SemiOptions(shares=[1.0], **QUICK))
    assert [replace(record, protocol="semi100") for record in found] == whole
    assert {record.protocol for record in found} == {"semi_own"}
    assert subject.notes["semi_own: rows of the labelled training images"] == list(range(12))


def test_missing_images_of_the_store_s_classes_are_counted_in_one_line(store: Store, tmp_path: Path) -> None:
    lists = written(tmp_path / "some.txt", "n02_2.PNG", "n01_1.png", "n99_5.JPEG", "n01_77.png", "n02_78.png")
    subject = subject_of(TwoParts(), store)
    with collected_notes() as said:
        evaluate(subject, SemiOptions(shares=[], lists=lists, **QUICK))
    assert subject.notes["semi_own: rows of the labelled training images"] == [0, 7]
    assert said == [
        "some.txt: 2 of its 5 images are not in the store though their classes are (first: n01_77.png); 2 images keep "
        "their labels"
    ]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("n77_1.JPEG",), r"list\.txt: none of its 1 file names is among the 12 training images"),
        (("n01_1.png",), r"list\.txt: lists no image of 1 of the 2 classes \(first: n02\)"),
    ],
)
def test_an_unusable_list_is_rejected(names: tuple[str, ...], words: str, store: Store, tmp_path: Path) -> None:
    options = SemiOptions(shares=[], lists=written(tmp_path / "list.txt", *names), **QUICK)
    with pytest.raises(UserError, match=words):
        evaluate(subject_of(TwoParts(), store), options)


def test_a_store_without_names_gives_the_remedy(store: Store, tmp_path: Path) -> None:
    older = replace(store, info={key: value for key, value in store.info.items() if key != "names"})
    options = SemiOptions(shares=[], lists=written(tmp_path / "list.txt", "n01_1.png"), **QUICK)
    with pytest.raises(UserError, match="keeps no file names; use a source of image files, or prepare the data set ag"):
        evaluate(subject_of(TwoParts(), older), options)
    assert json.loads((store.folder / "store.json").read_text())["names"]


def test_options_name_their_lists(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="shares and lists are both empty"):
        SemiOptions(shares=[])
    with pytest.raises(ValidationError, match="String should match pattern"):
        SemiOptions(lists={"1/2": "x"})
    options = SemiOptions(lists={"own": "lists/own.txt"}).at(str(tmp_path))
    assert options.listed_files() == (str(tmp_path / "lists" / "own.txt"),)
    with pytest.raises(UserError, match=r"own\.txt: cannot be read as a list of file names"):
        options.require()


def test_simclr_s_lists_name_images_by_class(tmp_path: Path) -> None:
    unpack = next((script for script in SAMPLES if script.is_file()), None)
    if unpack is None:
        pytest.skip("no folder shared/data next to the checkout, which holds SimCLR's lists")
    subprocess.run([sys.executable, str(unpack), str(tmp_path), "lists"], check=True, capture_output=True)
    [path] = tmp_path.rglob("1percent.txt")
    names = read_list(path)
    assert len(names) == len(set(names)) == 12_811
    kinds = sorted({name.partition("_")[0] for name in names})
    assert len(kinds) == 1000
    mine = [name for name in names if name.startswith(kinds[0])]
    assert missing_names(mine[1:], names, kinds[:1]) == mine[:1]
