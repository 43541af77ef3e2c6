"""Folders of image files, one sub-folder per class."""

from __future__ import annotations

import difflib
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clever.data.folder_layout import (
    check_case,
    find_split,
    folders_in,
    has_images,
    image_key,
    labels_file,
    lacking_classes,
    lacking_train,
    read_labels,
)
from clever.data.image_files import EXTENSIONS, Listing, described, list_images
from clever.data.source import NO_LABEL, FileSplit, Source
from clever.errors import UserError, one_line
from clever.files import expanded

if TYPE_CHECKING:
    from clever.data.options import DataOptions


def read_image_folder(options: DataOptions) -> Source:
    """``root/train/<class>/**`` and ``root/val/<class>/**``; ``valid``, ``validation`` or ``test`` if there is no
    ``val``, each in any case.

    Classes and files come in the order of torchvision's ``ImageFolder`` (sorted names; symbolic links are followed);
    hidden class folders, and files left by systems and editors, are ignored. The second split is always called
    ``test``, regardless of its folder's name. If its images are not in class folders, their classes come from the file
    ``test_labels`` or from Tiny-ImageNet's ``val_annotations.txt`` in the folder. With ``labelled: false`` all images
    of a split are used, regardless of their folders.

    Raises :class:`UserError` for a missing folder, an unknown name in ``classes``, a class without images, a class that
    only one split has, and an image without a label. Files are not opened yet.
    """
    assert options.root is not None
    root = expanded(options.root)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder (`root` of source image_folder)")
    train, test = find_split(root, "train"), find_split(root, "test")
    if not options.labelled:
        return _read_unlabelled(root, train, test)
    if train is None:
        raise UserError(lacking_train(root, EXTENSIONS))
    if test is None:
        raise UserError(f"{root}: has neither val nor test; expected train/<class>/* and val/<class>/*")
    classes = _chosen_classes(options.classes, folders_in(train), train)
    images = _list_split(root, train, classes)
    labels = root / options.test_labels if options.test_labels is not None else labels_file(test)
    if labels is None:
        _check_test_classes(options, train, test, classes)
        second, origin = _list_split(root, test, classes), test.name
    else:
        second, origin = _list_annotated(root, test, labels, classes, options), f"{test.name} by {labels.name}"
    unread = [name for name in folders_in(root) if name.lower() == "test" and name != test.name]
    notes = [f"{test.name} is the test split; the folder {name} also exists and is not read" for name in unread]
    return Source(classes, images, second, f"image folder, {train.name} and {origin}", notes=tuple(notes))


def _read_unlabelled(root: Path, train: Path | None, test: Path | None) -> Source:
    if train is None and test is not None:
        raise UserError(f"{root}: has {test.name} but no train; expected training images in train, or all in {root}")
    images, further = _list_unlabelled(root, train or root), _list_unlabelled(root, test)
    if not len(images.labels):
        raise UserError(f"{train or root}: no image there or below; images end in {', '.join(EXTENSIONS)}")
    where = "" if train is None else f", {train.name}" if test is None else f", {train.name} and {test.name}"
    return Source((), images, further, origin=f"image folder without labels{where}")


def _list_unlabelled(root: Path, folder: Path | None) -> FileSplit:
    found = Listing() if folder is None else list_images(folder)
    return FileSplit(
        root,
        [file.relative_to(root).as_posix() for file in found.images],
        np.full(len(found.images), NO_LABEL, dtype=np.int64),
        [(file.relative_to(root).as_posix(), reason) for file, reason in found.broken],
        passed_over=found.passed_over,
    )


def _check_test_classes(options: DataOptions, train: Path, test: Path, classes: tuple[str, ...]) -> None:
    found = folders_in(test)
    if not set(found) & set(classes) and has_images(test, EXTENSIONS):
        raise UserError(lacking_classes(test, "test", EXTENSIONS))
    unknown = [] if options.classes is not None else sorted(set(found) - set(classes))
    missing = sorted(set(classes) - set(found))
    for here in [*unknown, *missing]:
        others = [name for name in (classes if here in unknown else found) if name.casefold() == here.casefold()]
        if others:
            places = (test.name, train.name) if here in unknown else (train.name, test.name)
            raise UserError(
                f"{test.parent}: class {here} of {places[0]} is called {others[0]} in {places[1]}; "
                "give both one name, in the same case"
            )
    if unknown:
        raise UserError(f"{test}: class {_listed(unknown)} has no folder in train; remove it or list `classes`")
    if missing:
        raise UserError(f"{test}: has no folder for class {_listed(missing)}, which train has")


def _list_annotated(
    root: Path, folder: Path, labels: Path, classes: tuple[str, ...], options: DataOptions
) -> FileSplit:
    """The images of a split whose classes are listed in a file; images of classes that were not chosen are excluded."""
    annotated = read_labels(labels, classes)
    unknown = sorted(set(annotated.values()) - set(classes))
    if unknown and options.classes is None:
        raise UserError(f"{labels}: class {_listed(unknown)} has no folder in train; list `classes` to leave it out")
    found = list_images(folder)
    files = found.images
    if not files:
        raise UserError(f"{folder}: no image there or below; images end in {', '.join(EXTENSIONS)}")
    unnamed = [file for file in files if image_key(file.name) not in annotated]
    if unnamed:
        first = unnamed[0].relative_to(root).as_posix()
        raise UserError(f"{labels}: has no class for {first} ({len(unnamed)} such images); correct one of them")
    keys = [image_key(file.name) for file in files]
    twice = sorted({key for key, count in Counter(keys).items() if count > 1})
    if twice:
        raise UserError(f"{folder}: two images are called {twice[0]}, so {labels.name} does not say which it means")
    index = {name: label for label, name in enumerate(classes)}
    chosen = [(file, index[annotated[key]]) for file, key in zip(files, keys, strict=True) if annotated[key] in index]
    absent = sorted(key for key in set(annotated) - set(keys) if annotated[key] in index)
    return FileSplit(
        root,
        [file.relative_to(root).as_posix() for file, _ in chosen],
        np.asarray([label for _, label in chosen], dtype=np.int64),
        [(file.relative_to(root).as_posix(), reason) for file, reason in found.broken]
        + [(f"{folder.name}/{key}", f"is in {labels.name}, but there is no such image") for key in absent],
        passed_over=found.passed_over,
    )


def _chosen_classes(wanted: list[str] | None, found: list[str], folder: Path) -> tuple[str, ...]:
    if wanted is None:
        if not set(found) - {"images"}:
            raise UserError(lacking_classes(folder, "train", EXTENSIONS))
        same = check_case(folder, found)
        if same:
            print(one_line(f"note: {same}"), file=sys.stderr)
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
        others = f" (ignored in {folder.name}: {described(passed_over)})" if passed_over else ""
        raise UserError(f"{folder}: no image in class {_listed(empty)}; images end in {', '.join(EXTENSIONS)}{others}")
    return FileSplit(root, paths, np.asarray(labels, dtype=np.int64), unreadable, passed_over=passed_over)


def _listed(names: list[str], at_most: int = 10) -> str:
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more
