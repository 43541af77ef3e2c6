"""Where image folders keep their splits and their labels: the layouts that public data sets come in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from clever.data.image_files import is_junk
from clever.data.source import SplitName
from clever.errors import UserError

TRAIN_NAMES = ("train",)
"""What a folder of training images may be called, in any case."""

TEST_NAMES = ("val", "valid", "validation", "test")
"""What the other split may be called, in any case; the first that is there is read."""

TINY_IMAGENET_LABELS = "val_annotations.txt"
"""In ``val`` of Tiny-ImageNet as it is downloaded: file name, class and a bounding box a line, tabs between them."""

_NAMED_AT_MOST = 5


def find_split(root: Path, split: SplitName) -> Path | None:
    """The folder of a split, or None where there is none.

    Raises:
        UserError: two folders have the same name but for case, or ``root`` cannot be listed.
    """
    folders = folders_in(root)
    for wanted in TRAIN_NAMES if split == "train" else TEST_NAMES:
        found = [name for name in folders if name.lower() == wanted]
        if len(found) > 1:
            raise UserError(f"{root}: {' and '.join(found)} differ in case only; keep one of them, or rename the other")
        if found:
            return root / found[0]
    return None


def folders_in(folder: Path) -> list[str]:
    """Sorted names of the folders in ``folder``, without hidden ones and those that systems and editors leave behind.

    Raises:
        UserError: it cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted(entry.name for entry in entries if entry.is_dir())
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror})") from error
    return [name for name in found if not name.startswith(".") and not is_junk(name)]


def lacking_train(root: Path, extensions: tuple[str, ...]) -> str:
    """What to do about a root without ``train``, said by what is there instead."""
    folders = folders_in(root)
    nested = [name for name in folders if find_split(root / name, "train") is not None]
    if nested:
        return f"{root}: has no folder train, but {nested[0]} in it has; set `root` to {root / nested[0]}"
    if has_images(root, extensions):
        return (
            f"{root}: has no folder train, but images; set `labelled: false` to pre-train on them without labels, or "
            "sort them into train/<class>/ and val/<class>/"
        )
    there = f"; there are {_some(folders)}" if folders else ""
    return f"{root}: has no folder train; expected train/<class>/* and val/<class>/* (or test/<class>/*){there}"


def lacking_classes(folder: Path, split: SplitName, extensions: tuple[str, ...]) -> str:
    """What to do about a split without class folders, said by what is there instead."""
    if not has_images(folder, extensions):
        return f"{folder}: has no class folders; expected {folder.name}/<class>/*"
    if split == "train":
        return (
            f"{folder}: has images but no class folders; sort them into {folder.name}/<class>/, or set "
            "`labelled: false` to pre-train without labels"
        )
    return (
        f"{folder}: has images but no class folders, like ILSVRC as it is unpacked; their labels are needed: sort them "
        f"into {folder.name}/<class>/, or set `test_labels` to a file with an image and its class a line (for "
        "ImageNet, LOC_val_solution.csv)"
    )


def has_images(folder: Path, extensions: tuple[str, ...]) -> bool:
    """Whether an image is in the folder itself, or in a folder ``images`` in it."""
    for place in (folder, folder / "images"):
        try:
            with os.scandir(place) as entries:
                if any(entry.name.lower().endswith(extensions) for entry in entries):
                    return True
        except OSError:
            continue
    return False


def labels_file(folder: Path) -> Path | None:
    """The labels that came with a split whose images are in no class folders, or None."""
    path = folder / TINY_IMAGENET_LABELS
    return path if path.is_file() else None


def read_labels(path: Path, known: Sequence[str]) -> dict[str, str]:
    """Class by image, from a text file with an image and its class a line; what follows the class is passed over.

    A tab, a comma or spaces separate the two (Tiny-ImageNet's ``val_annotations.txt``, ImageNet's
    ``LOC_val_solution.csv``). Images are named with or without folder and extension; the key is :func:`image_key` of
    the name. A header line is passed over. A class between tabs or commas may have spaces in it, where it is one of
    ``known``; otherwise its first word counts.

    Raises:
        UserError: the file cannot be read, a line has no class, or an image has two classes.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = file.read(_LARGEST_LABELS + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UserError(f"{path}: cannot be read ({reason})") from error
    if len(lines) > _LARGEST_LABELS:
        raise UserError(f"{path}: longer than {_LARGEST_LABELS / 1e6:.0f} MB, which no file of labels is")
    classes: dict[str, str] = {}
    known_classes = frozenset(known)
    for number, line in enumerate(lines.splitlines(), start=1):
        fields = _fields(line, known_classes)
        if not fields or (number == 1 and fields[0].lower() in _HEADERS):
            continue
        if len(fields) < 2:
            numbers = "; a number a line, as in ILSVRC's devkit, names no image" if fields[0].isdecimal() else ""
            raise UserError(f"{path}: line {number} has no class; expected an image and its class{numbers}")
        image = image_key(fields[0])
        if classes.setdefault(image, fields[1]) != fields[1]:
            raise UserError(f"{path}: line {number}: {fields[0]} is {fields[1]} here and {classes[image]} before")
    if not classes:
        raise UserError(f"{path}: names no image")
    return classes


_LARGEST_LABELS = 200_000_000
_HEADERS = ("imageid", "image", "image_id", "file", "filename", "file_name", "path", "name")


def image_key(name: str) -> str:
    """An image's name without folder and extension."""
    return Path(name).stem if Path(name).suffix else Path(name).name


def _fields(line: str, known: frozenset[str]) -> list[str]:
    """The image and its class, as far as they are there."""
    for separator in "\t,":
        if separator in line:
            image, label = (field.strip() for field in line.split(separator)[:2])
            return [image, label] if label in known else [image, *label.split()[:1]]
    return line.split()[:2]


def check_case(folder: Path, classes: Sequence[str]) -> str | None:
    """A line that names class folders that differ in case only, or None."""
    seen: dict[str, str] = {}
    for name in classes:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            return f"{folder}: class folders {other} and {name} differ in case only, and count as two classes"
    return None


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more
