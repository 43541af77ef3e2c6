"""Encoded stores that link to the image files of their source instead of copying them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from clever.data import DataOptions, Store, prepare
from clever.errors import UserError

from .conftest import FolderMaker


def options(root: Path, **changes: Any) -> DataOptions:
    return DataOptions(source="image_folder", root=str(root), format="encoded", **changes)


@pytest.fixture
def photos(make_folder: FolderMaker) -> Path:
    return make_folder()


@pytest.fixture
def linked(photos: Path, tmp_path: Path) -> Store:
    return prepare(options(photos, linked=True), tmp_path / "linked")


def test_a_linked_store_gives_the_images_of_a_copied_one(photos: Path, linked: Store, tmp_path: Path) -> None:
    copied = prepare(options(photos), tmp_path / "copied")
    assert (linked.mean, linked.std, linked.classes) == (copied.mean, copied.std, copied.classes)
    for name in ("train", "test"):
        one, other = linked.split(name), copied.split(name)  # type: ignore[arg-type]
        assert (len(one), one.nbytes) == (len(other), other.nbytes)
        rows = list(range(len(one)))
        mine, theirs = one.images(rows), other.images(rows)
        assert torch.equal(mine.pixels, theirs.pixels)
        assert torch.equal(mine.labels, theirs.labels)
    linked.verify()
    assert not list(linked.folder.glob("*.bin"))


def test_prepare_says_whether_it_copies_or_links(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    linked = prepare(options(photos, linked=True), tmp_path / "linked")
    said = capsys.readouterr().err
    assert f"links to {linked.split('train').nbytes + linked.split('test').nbytes} bytes" in said
    assert f"in {photos}, which must stay there" in said
    prepare(options(photos), tmp_path / "copied")
    assert "the store has its own copy of the images, " in capsys.readouterr().err


def test_the_checksum_does_not_depend_on_the_place(make_folder: FolderMaker, linked: Store, tmp_path: Path) -> None:
    other = prepare(options(make_folder("elsewhere"), linked=True), tmp_path / "other")
    assert other.checksum == linked.checksum


def test_a_moved_source_gives_one_line_and_a_link_in_its_place_repairs_it(photos: Path, linked: Store) -> None:
    before = linked.split("train").images([0, 5]).pixels
    moved = photos.with_name("moved")
    photos.rename(moved)
    with pytest.raises(UserError, match=rf"{photos}: no such folder, but the store {linked.folder} reads its images"):
        Store.open(linked.folder).verify(remember=True)
    photos.symlink_to(moved)
    store = Store.open(linked.folder)
    store.verify()
    assert torch.equal(store.split("train").images([0, 5]).pixels, before)


@pytest.mark.parametrize(
    ("kind", "words", "at_start"),
    [
        ("missing", r"cannot be read \(No such file", True),
        ("longer", "has [0-9]+ bytes, but had [0-9]+ since", True),
        ("one bit", "has changed since the store", False),
    ],
)
def test_a_changed_file_is_refused_by_name(photos: Path, linked: Store, kind: str, words: str, at_start: bool) -> None:
    path = photos / "train" / "dog" / "1.png"
    content, times = path.read_bytes(), path.stat()
    if kind == "missing":
        path.unlink()
    elif kind == "longer":
        path.write_bytes(content + b"0")
    else:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    store = Store.open(linked.folder)
    if at_start:
        with pytest.raises(UserError, match=rf"dog/1\.png: {words}"):
            store.verify(remember=True)
    else:
        store.verify(remember=True)
    with pytest.raises(UserError, match=r"dog/1\.png: .* restore the file, or prepare the data set again"):
        store.verify()
    split = store.split("train")
    split.images([0, 1, 2, 3, 5])
    with pytest.raises(UserError, match=r"dog/1\.png: (has changed|cannot be read .*) since the store"):
        split.images([4])


def test_a_damaged_list_of_files_is_named(linked: Store) -> None:
    path = linked.folder / "train_links.json"
    path.write_text(path.read_text().replace("dog/1.png", "dog/2.png"))
    with pytest.raises(UserError, match=r"train_links\.json: sha256 is"):
        linked.verify(remember=True)
    path.write_text("[[1, 2]]")
    with pytest.raises(UserError, match=r"train_links\.json: "):
        linked.split("train")


def test_a_store_changes_between_copy_and_links(photos: Path, linked: Store) -> None:
    """Preparing the data again with the other option replaces every file."""
    copied = prepare(options(photos), linked.folder)
    assert copied.linked_root is None
    shutil.rmtree(photos)
    copied.verify()


def test_only_encoded_stores_link() -> None:
    with pytest.raises(ValueError, match="needs format encoded, not pixels"):
        DataOptions(source="image_folder", root="x", image_size=8, linked=True)
