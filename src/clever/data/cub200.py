"""Caltech-UCSD Birds-200-2011 (CUB-200) in its authors' layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clever.data.packed_layouts import CUB_FOLDER, CUB_IMAGES, lacking_cub
from clever.data.source import FileSplit, Source
from clever.errors import UserError
from clever.files import expanded
from clever.parsing import foreign, read_text

if TYPE_CHECKING:
    from clever.data.options import DataOptions

_LISTS = (CUB_IMAGES, "image_class_labels.txt", "train_test_split.txt", "classes.txt")


def read_cub200(options: DataOptions) -> Source:
    """``root/CUB_200_2011`` with the official split (5,994 training and 5,794 test images of 200 classes).

    Four text files hold one line per image or class: ``images.txt`` (number, path below ``images``),
    ``image_class_labels.txt`` (number, class from 1), ``train_test_split.txt`` (number, 1 for training) and
    ``classes.txt`` (class, name). CUB sorted into ``train/<class>`` and ``val/<class>`` is an ``image_folder``.

    Raises:
        UserError: a list is missing or damaged, or the lists disagree.
    """
    assert options.root is not None
    root = expanded(options.root)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder (`root` of source cub200)")
    lacking = lacking_cub(root)
    if lacking is not None:
        raise UserError(lacking)
    folder = root / CUB_FOLDER
    images, classes, training, names = (_numbered(folder / name) for name in _LISTS)
    for file, found in zip(_LISTS[1:3], (classes, training), strict=True):
        if found.keys() != images.keys():
            raise UserError(f"{folder / file}: lists {len(found)} images, {CUB_IMAGES} {len(images)}; unpack it again")
    order = {number: label for label, number in enumerate(sorted(names, key=int))}
    unknown = sorted(set(classes.values()) - order.keys())
    if unknown:
        raise UserError(f"{folder / _LISTS[1]}: class {unknown[0]} is not in classes.txt; unpack it again")
    splits = []
    for wanted in ("1", "0"):
        chosen = [number for number in sorted(images, key=int) if training[number] == wanted]
        labels = np.asarray([order[classes[number]] for number in chosen], dtype=np.int64)
        splits.append(FileSplit(root, [f"{CUB_FOLDER}/images/{images[number]}" for number in chosen], labels))
    train, test = splits
    return Source(tuple(names[number] for number in order), train, test, origin="CUB-200-2011, official split")


def _numbered(path: Path) -> dict[str, str]:
    """Map the number at the start of each line of a list to the rest of the line."""
    with foreign(path, "cannot be read", "unpack CUB_200_2011.tgz again"):
        found = dict(line.split(maxsplit=1) for line in read_text(path).splitlines() if line.strip())
        if not found or not all(number.isdecimal() for number in found):
            raise ValueError("expected a number and a value per line")
    return {number: rest.strip() for number, rest in found.items()}
