"""Data sets that torchvision reads, and CUB-200: miniature copies of their official layouts, with drawn pictures."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision
from PIL import Image
from pydantic import ValidationError
from scipy.io import savemat

from clever.crosschecks.missing_data import lacking
from clever.data import SOURCES, DataOptions, Store, prepare
from clever.data.source import SPLITS
from clever.errors import UserError

SAMPLES = [folder / "shared" / "data" / "unpack.py" for folder in Path(__file__).resolve().parents[2:]]


def draw(path: Path, colour: tuple[int, int, int]) -> None:
    """Write a picture of one colour, wider than high."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 18), colour).save(path, quality=95)


def text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


RED, GREEN, BLUE = (200, 10, 40), (10, 200, 90), (10, 10, 200)
COLOURS = {"ash": RED, "beech": GREEN}


def flowers102(root: Path) -> None:
    base = root / "flowers-102"
    for number in range(1, 9):
        draw(base / "jpg" / f"image_{number:05d}.jpg", RED if number % 2 else GREEN)
    savemat(base / "setid.mat", {"trnid": np.arange(1, 5), "valid": np.arange(5, 7), "tstid": np.arange(7, 9)})
    savemat(base / "imagelabels.mat", {"labels": np.asarray([1 if n % 2 else 102 for n in range(1, 9)])})


def food101(root: Path) -> None:
    base = root / "food-101"
    for name, count in (("train", 2), ("test", 1)):
        listed = {food: [f"{food}/{name}{place}" for place in range(count)] for food in COLOURS}
        for food, paths in listed.items():
            for path in paths:
                draw(base / "images" / f"{path}.jpg", COLOURS[food])
        text(base / "meta" / f"{name}.json", json.dumps(listed))


def pets(root: Path) -> None:
    base = root / "oxford-iiit-pet"
    for name, places in (("trainval", (1, 2)), ("test", (3,))):
        lines = [
            f"{animal}_{place} {number} 1 1" for animal, number in (("ash", 1), ("beech_tree", 6)) for place in places
        ]
        for line in lines:
            animal = line.split()[0]
            draw(base / "images" / f"{animal}.jpg", RED if animal.startswith("ash") else GREEN)
        text(base / "annotations" / f"{name}.txt", *lines)


def dtd(root: Path) -> None:
    base = root / "dtd" / "dtd"
    for name in ("train", "val", "test"):
        for kind, colour in COLOURS.items():
            draw(base / "images" / kind / f"{name}.jpg", colour)
        text(base / "labels" / f"{name}1.txt", *(f"{kind}/{name}.jpg" for kind in COLOURS))


def aircraft(root: Path) -> None:
    base = root / "fgvc-aircraft-2013b" / "data"
    text(base / "variants.txt", *COLOURS)
    for name, places in (("trainval", (1, 2)), ("test", (3,))):
        for kind, colour in COLOURS.items():
            for place in places:
                draw(base / "images" / f"{kind}{place}.jpg", colour)
        text(base / f"images_variant_{name}.txt", *(f"{kind}{place} {kind}" for kind in COLOURS for place in places))


def cars(root: Path) -> None:
    base = root / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    savemat(base / "devkit" / "cars_meta.mat", {"class_names": np.asarray(list(COLOURS), dtype=object)})
    kinds = [("fname", object), ("class", int)]
    for folder, file, count in (
        ("cars_train", base / "devkit" / "cars_train_annos.mat", 4),
        ("cars_test", base / "cars_test_annos_withlabels.mat", 2),
    ):
        rows = [(f"{place:05d}.jpg", place % 2 + 1) for place in range(count)]
        for name, label in rows:
            draw(base / folder / name, list(COLOURS.values())[label - 1])
        savemat(file, {"annotations": np.asarray(rows, dtype=kinds)})


def caltech101(root: Path) -> None:
    base = root / "caltech101"
    (base / "Annotations").mkdir(parents=True)
    for kind, colour in ({"BACKGROUND_Google": BLUE} | COLOURS).items():
        for place in range(1, 33):
            draw(base / "101_ObjectCategories" / kind / f"image_{place:04d}.jpg", colour)


def sun397(root: Path) -> None:
    base = root / "SUN397"
    text(base / "ClassName.txt", *(f"/{kind[0]}/{kind}" for kind in COLOURS))
    for kind, colour in COLOURS.items():
        for place in range(105):
            draw(base / kind[0] / kind / f"sun_{place:03d}.jpg", colour)


def cub200(root: Path) -> None:
    base = root / "CUB_200_2011"
    rows = [(kind, place) for kind in COLOURS for place in range(3)]
    for kind, place in rows:
        draw(base / "images" / f"00{kind}" / f"{place}.jpg", COLOURS[kind])
    text(base / "images.txt", *(f"{n} 00{kind}/{place}.jpg" for n, (kind, place) in enumerate(rows, 1)))
    text(base / "image_class_labels.txt", *(f"{n} {1 + (kind == 'beech')}" for n, (kind, _) in enumerate(rows, 1)))
    text(base / "train_test_split.txt", *(f"{n} {int(place < 2)}" for n, (_, place) in enumerate(rows, 1)))
    text(base / "classes.txt", "1 001.ash", "2 002.beech")


LAYOUTS: dict[str, tuple[Callable[[Path], None], tuple[str, str], tuple[int, int]]] = {
    "flowers102": (flowers102, ("pink primrose", "blackberry lily"), (4, 2)),
    "food101": (food101, ("ash", "beech"), (4, 2)),
    "pets": (pets, ("Ash", "Beech Tree"), (4, 2)),
    "dtd": (dtd, ("ash", "beech"), (4, 2)),
    "aircraft": (aircraft, ("ash", "beech"), (4, 2)),
    "cars": (cars, ("ash", "beech"), (4, 2)),
    "caltech101": (caltech101, ("ash", "beech"), (60, 4)),
    "sun397": (sun397, ("ash", "beech"), (100, 100)),
    "cub200": (cub200, ("001.ash", "002.beech"), (4, 2)),
}
"""For each source: the function that draws it, its classes in label order (red, green), and its training and test
images."""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A folder with the miniature of the source given by the test's parameter."""
    folder = tmp_path / "data"
    folder.mkdir()
    source = request.node.callspec.params["source"]
    LAYOUTS[source][0](folder)
    if source == "flowers102":  # torchvision compares the lists' checksums with the official ones
        digests = {
            key: (name, hashlib.md5((folder / "flowers-102" / name).read_bytes(), usedforsecurity=False).hexdigest())
            for key, name in (("label", "imagelabels.mat"), ("setid", "setid.mat"))
        }
        monkeypatch.setattr(torchvision.datasets.Flowers102, "_file_dict", digests)
    return folder


def prepared(source: str, root: Path, folder: Path, **options: Any) -> Store:
    return prepare(DataOptions(source=source, root=str(root), image_size=8, **options), folder, progress=False)


@pytest.mark.parametrize("source", list(LAYOUTS))
def test_splits_classes_and_pixels_match_the_layout(source: str, root: Path, tmp_path: Path) -> None:
    _, classes, counts = LAYOUTS[source]
    store = prepared(source, root, tmp_path / "store")
    assert store.classes == classes
    for name, count in zip(SPLITS, counts, strict=True):
        split = store.split(name)
        assert len(split) == count
        assert split.labels.bincount().tolist() == [count // 2, count // 2]
        pixels = split.images(list(range(count))).pixels.float().mean((2, 3))
        assert pixels.argmax(1).equal(split.labels)  # class 0 is red, class 1 green


@pytest.mark.parametrize("source", ["dtd", "caltech101", "cub200"])
def test_a_store_is_the_same_whatever_the_order_on_disk_and_may_keep_the_files(
    source: str, root: Path, tmp_path: Path
) -> None:
    first = prepared(source, root, tmp_path / "store")
    assert prepared(source, root, tmp_path / "again").checksum == first.checksum
    options = DataOptions(source=source, root=str(root), format="encoded", linked=True)
    linked = prepare(options, tmp_path / "linked", progress=False)
    assert linked.split("train").labels.equal(first.split("train").labels)
    assert linked.split("train").sizes(np.asarray([0])).tolist() == [[18, 24]]


@pytest.mark.parametrize("source", [name for name, kind in SOURCES.items() if kind.missing is not None])
def test_a_missing_folder_gives_one_line(source: str, root: Path, tmp_path: Path) -> None:
    [folder] = [entry for entry in root.iterdir() if entry.is_dir()]
    empty = tmp_path / "empty"
    empty.mkdir()
    for place, hint in (
        (folder, rf"set it to {root}$"),
        (empty, rf"has no (folder )?{folder.name}.*; unpack "),
    ):
        line = lacking(source, place)
        assert line is not None
        assert line.startswith(f"{place}: ")
        with pytest.raises(UserError, match=hint):
            prepared(source, place, tmp_path / "store")
    with pytest.raises(UserError, match=r"no such folder \(`root` of source"):
        prepared(source, tmp_path / "nowhere", tmp_path / "store")
    assert lacking(source, root) is None
    assert not (tmp_path / "store").exists()
    assert list(empty.iterdir()) == []  # torchvision's Caltech101 would create its folder


def test_every_source_of_image_files_by_name_is_drawn_here() -> None:
    assert set(LAYOUTS) == {name for name, kind in SOURCES.items() if kind.missing is not None}


@pytest.mark.parametrize("source", ["aircraft", "cub200"])
def test_a_damaged_list_gives_one_line(source: str, root: Path, tmp_path: Path) -> None:
    name = {"aircraft": "data/images_variant_test.txt", "cub200": "train_test_split.txt"}[source]
    [folder] = root.iterdir()
    (folder / name).write_text("nonsense\n")
    with pytest.raises(UserError, match=r"again$") as caught:
        prepared(source, root, tmp_path / "store")
    assert "\n" not in str(caught.value)
    (folder / name).unlink()
    with pytest.raises(UserError, match=rf"{Path(name).name}"):
        prepared(source, root, tmp_path / "store")


@pytest.mark.parametrize("source", ["pets"])
def test_a_missing_image_counts_as_unreadable(source: str, root: Path, tmp_path: Path) -> None:
    (root / "oxford-iiit-pet" / "images" / "ash_1.jpg").unlink()
    with pytest.raises(UserError, match=r"1 unreadable, unreadable_limit is 0: oxford-iiit-pet/images/ash_1\.jpg"):
        prepared(source, root, tmp_path / "store")


def test_downloads_are_torchvision_s_and_only_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def pet(*_: str, download: bool = False, **__: str) -> None:
        asked.append(download)
        raise RuntimeError("no network\nhere")

    monkeypatch.setattr(torchvision.datasets, "OxfordIIITPet", pet)
    with pytest.raises(UserError, match=r"could not download pets \(RuntimeError: no network here\)"):
        prepared("pets", tmp_path, tmp_path / "store", download=True)
    with pytest.raises(UserError, match="has no folder oxford-iiit-pet"):
        prepared("pets", tmp_path, tmp_path / "store")
    assert asked == [True]
    with pytest.raises(ValidationError, match="source cars is never downloaded; these can be: cifar10"):
        DataOptions(source="cars", root="x", image_size=8, download=True)


def test_the_definition_of_a_source_decides_its_store_s_content() -> None:
    flowers = DataOptions(source="flowers102", root="x", image_size=8)
    assert "Flowers102" in flowers.content()
    assert "('train',)" in flowers.content()
    digits = DataOptions(source="digits")
    assert digits.content() == digits.canonical(exclude={"root", "download"})


def test_the_official_pets_sample_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    unpack = next((script for script in SAMPLES if script.is_file()), None)
    if unpack is None:
        pytest.skip("no folder shared/data next to the checkout, which holds a sample of Oxford-IIIT Pets")
    subprocess.run([sys.executable, str(unpack), str(tmp_path), "pets"], check=True, capture_output=True)
    store = prepared("pets", tmp_path, tmp_path / "store")
    assert store.classes == ("Abyssinian", "American Bulldog", "Bengal")
    official = torchvision.datasets.OxfordIIITPet(str(tmp_path), split="test")
    ours = [store.classes[label] for label in store.split("test").labels.tolist()]
    breeds = {name.stem: name.stem.rsplit("_", 1)[0].replace("_", " ").title() for name in official._images}
    assert sorted(ours) == sorted(breeds.values())
    assert len(ours) == len(store.split("train")) == 150
