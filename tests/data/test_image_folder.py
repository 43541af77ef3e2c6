from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from clever.data import DataOptions
from clever.data.image_folder import read_image_folder
from clever.data.source import FileSplit
from clever.errors import UserError

from .conftest import FolderMaker


def read(root: Path, **options: Any) -> Any:
    return read_image_folder(DataOptions(source="image_folder", root=str(root), image_size=8, **options))


def refuses(root: Path, message: str, **options: Any) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        read(root, **options)
    assert "\n" not in str(caught.value)


def test_files_labels_and_classes_come_in_torchvisions_order(make_folder: FolderMaker) -> None:
    root = make_folder(classes=("zebra", "Ant", "bee10", "bee2"))
    nested = root / "train" / "Ant" / "more" / "deep"
    nested.mkdir(parents=True)
    for path in (nested / "x.PNG", root / "train" / "Ant" / "a b.png", root / "train" / "Ant" / "10.png"):
        Image.new("RGB", (4, 4)).save(path)
    (root / "train" / "Ant" / "notes.txt").write_text("no image")
    expected = ImageFolder(str(root / "train"))
    source = read(root)
    assert list(source.classes) == expected.classes
    found = [(str(root / path), label) for path, label in zip(source.train.paths, source.train.labels, strict=True)]
    assert found == expected.samples
    assert not source.train.unreadable


def test_val_comes_before_test(make_folder: FolderMaker) -> None:
    root = make_folder(second="test")
    assert read(root).test.paths[0] == "test/cat/0.png"
    shutil.copytree(root / "test", root / "val")
    assert read(root).test.paths[0] == "val/cat/0.png"


def test_chosen_classes_leave_the_others_out(make_folder: FolderMaker) -> None:
    root = make_folder(classes=("ant", "bee", "cow"))
    (root / "val" / "stray").mkdir()
    source = read(root, classes=["cow", "ant"])
    assert source.classes == ("ant", "cow")
    assert {path.split("/")[1] for path in source.train.paths} == {"ant", "cow"}


def test_missing_folders(make_folder: FolderMaker, tmp_path: Path) -> None:
    refuses(tmp_path / "nowhere", "nowhere: no such folder")
    root = make_folder()
    (root / "val").rename(root / "held_out")
    refuses(root, "has neither val nor test")
    (root / "train").rename(root / "training")
    refuses(root, "has no folder train")
    (root / "train").mkdir()
    (root / "val").mkdir()
    refuses(root, "train: has no class folders")


def test_unknown_class_is_named_with_the_nearest(make_folder: FolderMaker) -> None:
    root = make_folder(classes=("n01440764", "n01443537"))
    refuses(root, "class n01440765 named in `classes` (did you mean n01440764?)", classes=["n01440765"])


def test_class_without_images(make_folder: FolderMaker) -> None:
    root = make_folder()
    for split in ("train", "val"):
        (root / split / "emu").mkdir()
        (root / split / "emu" / "readme.txt").write_text("soon")
    refuses(root, "train: no image in class emu")


def test_class_of_one_split_only(make_folder: FolderMaker) -> None:
    root = make_folder()
    (root / "val" / "emu").mkdir()
    refuses(root, "val: class emu has no folder in train")
    (root / "val" / "emu").rmdir()
    shutil.rmtree(root / "val" / "dog")
    refuses(root, "val: has no folder for class dog, which train has")


def test_linked_folders_are_followed_but_loops_are_named(make_folder: FolderMaker, tmp_path: Path) -> None:
    root = make_folder()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Image.new("RGB", (4, 4)).save(elsewhere / "far.png")
    (root / "train" / "cat" / "linked").symlink_to(elsewhere)
    (root / "train" / "cat" / "again").symlink_to(root / "train")
    split = read(root).train
    assert isinstance(split, FileSplit)
    assert [path for path in split.paths if "cat" in path] == [
        "train/cat/0.png",
        "train/cat/1.png",
        "train/cat/2.png",
        "train/cat/linked/far.png",
    ]
    assert split.unreadable == [("train/cat/again", "a symbolic link to a folder that contains it")]


def test_links_that_meet_again_are_entered_once(make_folder: FolderMaker, tmp_path: Path) -> None:
    root = make_folder()
    depth = 25  # 2**25 paths lead to the last folder; the kernel resolves 40 links in a path
    folders = [tmp_path / "outside" / f"{level:02d}" for level in range(depth + 1)]
    for folder in folders:
        folder.mkdir(parents=True)
    for above, below in itertools.pairwise(folders):
        (above / "left").symlink_to(below)
        (above / "right").symlink_to(below)
    Image.new("RGB", (8, 8), "blue").save(folders[-1] / "far.png")
    (root / "train" / "cat" / "diamonds").symlink_to(folders[0])
    split = read_image_folder(DataOptions(source="image_folder", root=str(root), image_size=8)).train
    assert isinstance(split, FileSplit)
    assert sum(path.endswith("far.png") for path in split.paths) == 1
    assert len(split.unreadable) == depth
    name, reason = split.unreadable[0]
    assert name.endswith("/right")
    assert reason.startswith("the same folder as cat/diamonds/")
    assert reason.endswith("left, and its images would count twice")
