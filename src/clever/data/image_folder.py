"""Folders of image files, one sub-folder a class."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from pathlib import Path

import numpy as np

from clever.data.image_files import EXTENSIONS, described, is_junk, list_images
from clever.data.options import DataOptions
from clever.data.source import SPLITS, FileSplit, Source, SplitName
from clever.errors import UserError
from clever.files import expanded


def read_image_folder(options: DataOptions) -> Source:
    """``root/train/<class>/**`` and ``root/val/<class>/**``, or ``root/test/<class>/**`` where there is no ``val``.

    Classes and files come in the order of torchvision's ``ImageFolder`` (sorted names; symbolic links are followed);
    hidden class folders, and what systems and editors leave behind, are passed over. Whichever folder it came from, the
    second split is called ``test``.

    Raises :class:`UserError` for a missing folder, an unknown name in ``classes``, a class without images and a class
    that one split has and the other lacks. Files are not opened yet.
    """
    assert options.root is not None
    root = expanded(options.root)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder (`root` of source image_folder)")
    folders: dict[SplitName, Path] = {"train": root / "train", "test": root / "val"}
    if not folders["test"].is_dir():
        folders["test"] = root / "test"
    if not folders["train"].is_dir():
        raise UserError(f"{root}: has no folder train; expected train/<class>/* and val/<class>/* (or test/<class>/*)")
    if not folders["test"].is_dir():
        raise UserError(f"{root}: has neither val nor test; expected train/<class>/* and val/<class>/*")

    found = {name: _class_folders(folder) for name, folder in folders.items()}
    classes = _chosen_classes(options.classes, found["train"], folders["train"])
    if options.classes is None:
        unknown = sorted(set(found["test"]) - set(classes))
        if unknown:
            raise UserError(
                f"{folders['test']}: class {_listed(unknown)} has no folder in train; remove it or list `classes`"
            )
    missing = sorted(set(classes) - set(found["test"]))
    if missing:
        raise UserError(f"{folders['test']}: has no folder for class {_listed(missing)}, which train has")
    splits = {name: _list_split(root, folders[name], classes) for name in SPLITS}
    unread = root / "test"
    notes = []
    if folders["test"].name != "test" and unread.is_dir():
        notes.append(f"{folders['test'].name} is the test split; the folder test is there too and is not read")
    origin = f"image folder, train and {folders['test'].name}"
    return Source(classes, splits["train"], splits["test"], origin, notes=tuple(notes))


def _class_folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not _is_hidden(entry.name))
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror})") from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or is_junk(name)


def _chosen_classes(wanted: list[str] | None, found: list[str], folder: Path) -> tuple[str, ...]:
    if wanted is None:
        if not found:
            raise UserError(f"{folder}: has no class folders; expected {folder.name}/<class>/*")
        return tuple(found)
    absent = sorted(set(wanted) - set(found))
    if absent:
        nearest = difflib.get_close_matches(absent[0], found, n=1)
        hint = f" (did you mean {nearest[0]}?)" if nearest else ""
        raise UserError(f"{folder}: has no folder for class {_listed(absent)} named in `classes`{hint}")
    return tuple(sorted(wanted))


def _list_split(root: Path, folder: Path, classes: tuple[str, ...]) -> FileSplit:
    paths: list[str] = []
    labels: list[int] = []
    unreadable: list[tuple[str, str]] = []
    empty: list[str] = []
    passed_over = Counter[str]()
    for label, name in enumerate(classes):
        found = list_images(folder / name)
        if not found.images:
            empty.append(name)
        paths += [file.relative_to(root).as_posix() for file in found.images]
        labels += [label] * len(found.images)
        unreadable += [(file.relative_to(root).as_posix(), reason) for file, reason in found.broken]
        passed_over += found.passed_over
    if empty:
        others = f" (passed over in {folder.name}: {described(passed_over)})" if passed_over else ""
        raise UserError(f"{folder}: no image in class {_listed(empty)}; images end in {', '.join(EXTENSIONS)}{others}")
    return FileSplit(root, paths, np.asarray(labels, dtype=np.int64), unreadable, passed_over=passed_over)


def _listed(names: list[str], at_most: int = 10) -> str:
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more
