"""3DIEBench (Garrido, Najman and LeCun, ICML 2023): photographs of 3D objects with the latents they were rendered from.

The data are CC BY-NC 4.0 and are never downloaded by this program.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clever.data.array_files import load_array
from clever.data.source import FileSplit, Source, SplitName
from clever.data.subset import ranks_within_class
from clever.errors import UserError
from clever.files import expanded
from clever.threediebench import NAMES, VIEWS

if TYPE_CHECKING:
    from clever.data.options import DataOptions

LISTS: dict[SplitName, str] = {"train": "train_images.npy", "test": "val_images.npy"}
"""The release's lists of objects (SIE:src/dataset.py): a string ``/SYNSET/OBJ`` for each."""

_OBJECT = re.compile(r"/?([^/.][^/]*/[^/.][^/]*)")
_IMAGE = re.compile(r"image_(\d+)\.jpg")


def read_threediebench(options: DataOptions) -> Source:
    """``root/SYNSET/OBJ/image_{0..49}.jpg`` with ``latent_{0..49}.npy``, seven numbers each, in the same folder.

    A class is a synset, a group an object: all views of an object are in the same split. If ``root`` holds the
    release's lists ``train_images.npy`` and ``val_images.npy``, they define the splits. Otherwise the test split is a
    fifth of the objects of every class, rounded; they are drawn with a fixed seed, so that the split is the same in
    every study and for every seed.

    A view without its image or its latents, a view beyond the fiftieth, an object without views, and an object that is
    repeated in a second synset (only without lists: it could be in both splits) count as unreadable. Files are not
    opened yet; latents that are not seven finite numbers make their image unreadable when it is prepared.

    Raises :class:`UserError` for a missing folder, one without classes, a class without objects, too few objects to
    split, and lists that are damaged, name an object twice, or are only one of the two.
    """
    assert options.root is not None
    root = expanded(options.root)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder (`root` of source threediebench)")
    listed = [name for name in LISTS.values() if (root / name).exists()]
    if len(listed) == 1:
        absent = next(name for name in LISTS.values() if name not in listed)
        raise UserError(f"{root}: holds {listed[0]} but no {absent}; add it, or remove both to draw a new split")
    twice: list[tuple[str, str]] = []
    if listed:
        objects = _listed_objects(root)
        origin = "3DIEBench, published split"
    else:
        found, twice = _found_objects(root)
        objects = _split_by_object(root, found)
        origin = "3DIEBench, own split by object"
    classes = tuple(sorted({_synset(name) for name in objects["train"]}))
    unknown = sorted({_synset(name) for name in objects["test"]} - set(classes))
    if unknown:
        raise UserError(f"{root / LISTS['test']}: synset {unknown[0]} has no object in {LISTS['train']}")
    return Source(
        classes,
        train=_list_split(root, objects["train"], classes, twice),
        test=_list_split(root, objects["test"], classes, []),
        origin=origin,
        latent_names=NAMES,
    )


def _synset(name: str) -> str:
    return name.split("/")[0]


def _listed_objects(root: Path) -> dict[SplitName, list[str]]:
    seen: dict[str, str] = {}
    objects: dict[SplitName, list[str]] = {}
    for split, file in LISTS.items():
        entries = load_array(root / file, memory_mapped=False)
        if entries.dtype.kind != "U" or entries.ndim != 1 or not len(entries):
            raise UserError(f"{root / file}: must hold one string /SYNSET/OBJ per object, not {entries.dtype}")
        objects[split] = []
        for entry in entries.tolist():
            match = _OBJECT.fullmatch(entry)
            if match is None:
                raise UserError(f"{root / file}: {entry!r} is not /SYNSET/OBJ")
            if match[1] in seen:
                where = "twice" if seen[match[1]] == file else f"as {seen[match[1]]} does"
                raise UserError(f"{root / file}: names {match[1]} {where}; every object is in one split, once")
            seen[match[1]] = file
            objects[split].append(match[1])
        objects[split].sort()
    return objects


def _found_objects(root: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """All objects as SYNSET/OBJ in sorted order, and those already in an earlier synset, with the reason."""
    synsets = _folders(root)
    if not synsets:
        raise UserError(f"{root}: has no class folders; expected SYNSET/OBJ/image_0.jpg")
    first: dict[str, str] = {}
    objects: list[str] = []
    twice: list[tuple[str, str]] = []
    for synset in synsets:
        names = _folders(root / synset)
        if not names:
            raise UserError(f"{root / synset}: has no object folders; expected OBJ/image_0.jpg")
        for name in names:
            if name in first:
                twice.append((f"{synset}/{name}", f"the same object as {first[name]}"))
            else:
                first[name] = f"{synset}/{name}"
                objects.append(first[name])
    return objects, twice


def _folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror})") from error


def _split_by_object(root: Path, objects: list[str]) -> dict[SplitName, list[str]]:
    _, labels = np.unique([_synset(name) for name in objects], return_inverse=True)
    ranks = ranks_within_class(labels.astype(np.int64), 0, "threediebench", "split")
    # round() to even does not matter: n / 5 is never halfway between two integers.
    for_test = ranks < np.rint(np.bincount(labels)[labels] / 5)
    if not for_test.any():
        raise UserError(f"{root}: too few objects to split; a class needs at least 3 for one in the test split")
    chosen: dict[SplitName, list[str]] = {"train": [], "test": []}
    for name, test in zip(objects, for_test.tolist(), strict=True):
        chosen["test" if test else "train"].append(name)
    return chosen


def _list_split(
    root: Path, objects: list[str], classes: tuple[str, ...], unreadable: list[tuple[str, str]]
) -> FileSplit:
    numbers = {name: number for number, name in enumerate(classes)}
    paths: list[str] = []
    counts: list[int] = []
    unreadable = list(unreadable)
    for name in objects:
        found, broken = _views(root, name)
        paths += found
        counts.append(len(found))
        unreadable += broken
    labels = np.array([numbers[_synset(name)] for name in objects], dtype=np.int64)
    return FileSplit(
        root,
        paths,
        labels=np.repeat(labels, counts),
        unreadable=sorted(unreadable),
        latent_path=_latent_path,
        groups=np.repeat(np.arange(len(objects), dtype=np.int64), counts),
    )


def _latent_path(image: str) -> str:
    folder, _, name = image.rpartition("/")
    return f"{folder}/{name.replace('image_', 'latent_').removesuffix('.jpg')}.npy"


def _views(root: Path, name: str) -> tuple[list[str], list[tuple[str, str]]]:
    """The images of an object in the order of their numbers, and the problems of the others."""
    try:
        files = {path.name for path in (root / name).iterdir()}
    except OSError as error:
        return [], [(name, error.strerror or "cannot be listed")]
    expected = {f"image_{view}.jpg": f"latent_{view}.npy" for view in range(VIEWS)}
    images = {file for file in files if _IMAGE.fullmatch(file)}
    if not images:
        return [], [(name, f"holds none of image_0.jpg to image_{VIEWS - 1}.jpg")]
    problems: dict[str, str] = {}
    for image, latent in expected.items():
        if image not in files:
            problems[image] = "no such file"
        elif latent not in files:
            problems[image] = f"{latent} is missing"
    for image in images - set(expected):
        problems[image] = f"not one of the views 0 to {VIEWS - 1} of an object"
    paths = [f"{name}/{image}" for image in expected if image not in problems]
    return paths, [(f"{name}/{image}", problems[image]) for image in sorted(problems)]
