"""Find the splits and labels of an image folder, in the layouts of public data sets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clever.data.image_files import is_junk
from clever.errors import UserError

if TYPE_CHECKING:
    from clever.data.source import SplitName

TRAIN_NAMES = ("train",)
"""Names of a folder of training images, in any case."""

TEST_NAMES = ("val", "valid", "validation", "test")
"""Names of the other split's folder, in any case; the first one found is read."""

TINY_IMAGENET_LABELS = "val_annotations.txt"
"""In ``val`` of Tiny-ImageNet as downloaded: file name, class and bounding box per line, separated by tabs."""

_NAMED_AT_MOST = 5


def find_split(root: Path, split: SplitName) -> Path | None:
    """The folder of a split, or None if there is none.

    Raises:
        UserError: two folder names differ in case only, or ``root`` cannot be listed.
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
    """Sorted names of the folders in ``folder``, except hidden ones and those left by systems and editors.

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
    """Advice about a root without ``train``, depending on its content."""
    folders = folders_in(root)
    nested = [name for name in folders if find_split(root / name, "train") is not None]
    if nested:
        return f"{root}: has no folder train, but its folder {nested[0]} has; set `root` to {root / nested[0]}"
    if has_images(root, extensions):
        return (
            f"{root}: has no folder train, but images; set `labelled: false` to pre-train on them without labels, or "
            "sort them into train/<class>/ and val/<class>/"
        )
    hint = f"; found {_some(folders)}" if folders else ""
    return f"{root}: has no folder train; expected train/<class>/* and val/<class>/* (or test/<class>/*){hint}"


def lacking_classes(folder: Path, split: SplitName, extensions: tuple[str, ...]) -> str:
    """Advice about a split without class folders, depending on its content."""
    if not has_images(folder, extensions):
        return f"{folder}: has no class folders; expected {folder.name}/<class>/*"
    if split == "train":
        return (
            f"{folder}: has images but no class folders; sort them into {folder.name}/<class>/, or set "
            "`labelled: false` to pre-train without labels"
        )
    return (
        f"{folder}: has images but no class folders, like unpacked ILSVRC; their labels are needed: sort them "
        f"into {folder.name}/<class>/, or set `test_labels` to a file with an image and its class per line (for "
        "ImageNet, LOC_val_solution.csv)"
    )


def has_images(folder: Path, extensions: tuple[str, ...]) -> bool:
    """Whether there is an image in the folder itself or in its sub-folder ``images``."""
    for place in (folder, folder / "images"):
        try:
            with os.scandir(place) as entries:
                if any(entry.name.lower().endswith(extensions) for entry in entries):
                    return True
        except OSError:
            continue
    return False


def labels_file(folder: Path) -> Path | None:
    """The label file of a split whose images are not in class folders, or None."""
    path = folder / TINY_IMAGENET_LABELS
    return path if path.is_file() else None


def read_labels(path: Path, known: Sequence[str]) -> dict[str, str]:
    """Map each image to its class, from a text file with an image and its class per line; the rest of a line is
    ignored.

    A tab, a comma or spaces separate the two (Tiny-ImageNet's ``val_annotations.txt``, ImageNet's
    ``LOC_val_solution.csv``). Images are named with or without folder and extension; the key is :func:`image_key` of
    the name. A header line is skipped. A class between tabs or commas may contain spaces if it is one of ``known``;
    otherwise only its first word counts.

    Raises:
        UserError: the file cannot be read, a line has no class, or an image has two classes.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = file.read(_LARGEST_LABELS + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UserError(f"{path}: cannot be read ({reason})") from error
    if len(lines) > _LARGEST_LABELS:
        raise UserError(f"{path}: larger than {_LARGEST_LABELS / 1e6:.0f} MB, too large for a file of labels")
    classes: dict[str, str] = {}
    known_classes = frozenset(known)
    for number, line in enumerate(lines.splitlines(), start=1):
        fields = _fields(line, known_classes)
        if not fields or (number == 1 and fields[0].lower() in _HEADERS):
            continue
        if len(fields) < 2:
            numbers = "; a number, as in ILSVRC's devkit, does not name an image" if fields[0].isdecimal() else ""
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
    """The image and its class of one line, as far as they are present."""
    for separator in "\t,":
        if separator in line:
            image, label = (field.strip() for field in line.split(separator)[:2])
            return [image, label] if label in known else [image, *label.split()[:1]]
    return line.split()[:2]


def check_case(folder: Path, classes: Sequence[str]) -> str | None:
    """A note on class folders that differ in case only, or None."""
    seen: dict[str, str] = {}
    for name in classes:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            return f"{folder}: class folders {other} and {name} differ in case only, and count as two classes"
    return None


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more
