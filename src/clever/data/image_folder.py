"""Folders of image files, one sub-folder a class."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import numpy as np

from clever.data.options import DataOptions
from clever.data.source import SPLITS, FileSplit, Source, SplitName
from clever.errors import UserError
from clever.files import expanded

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Files that count as images (upper or lower case): the list of torchvision's ``ImageFolder``."""


def read_image_folder(options: DataOptions) -> Source:
    """``root/train/<class>/**`` and ``root/val/<class>/**``, or ``root/test/<class>/**`` where there is no ``val``.

    Classes and files come in the order of torchvision's ``ImageFolder`` (sorted names; symbolic links are followed);
    hidden class folders are passed over. Whichever folder it came from, the second split is called ``test``.

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
    return Source(classes, splits["train"], splits["test"], origin=f"image folder, train and {folders['test'].name}")


def _class_folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror})") from error


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
    for label, name in enumerate(classes):
        files, broken = _image_files(folder / name)
        if not files:
            empty.append(name)
        paths += [file.relative_to(root).as_posix() for file in files]
        labels += [label] * len(files)
        unreadable += [(file.relative_to(root).as_posix(), reason) for file, reason in broken]
    if empty:
        raise UserError(f"{folder}: no image in class {_listed(empty)}; images end in {', '.join(EXTENSIONS)}")
    return FileSplit(root, paths, np.asarray(labels, dtype=np.int64), unreadable)


def _image_files(folder: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Image files at any depth in ImageFolder's order, and the folders that could not be entered with the reason."""
    broken: list[tuple[Path, str]] = []
    visits: list[tuple[str, list[str]]] = []

    def failed(error: OSError) -> None:
        broken.append((Path(error.filename), error.strerror or "cannot be listed"))

    for parent, folders, files in os.walk(folder, followlinks=True, onerror=failed):
        # A link to a folder above itself would be walked forty times over, with each image as often.
        above = {os.path.realpath(path) for path in (Path(parent), *Path(parent).parents)}
        for name in list(folders):
            child = Path(parent, name)
            if child.is_symlink() and os.path.realpath(child) in above:
                folders.remove(name)
                broken.append((child, "a symbolic link to a folder that contains it"))
        visits.append((parent, sorted(files)))
    images = [
        Path(parent, name) for parent, files in sorted(visits) for name in files if name.lower().endswith(EXTENSIONS)
    ]
    return images, sorted(broken)


def _listed(names: list[str], at_most: int = 10) -> str:
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more
