"""List the image files of an image folder without opening them, in the order that the file system gives them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from clever.data.folder_layout import find_split, folders_in, labels_file
from clever.data.image_files import EXTENSIONS, is_junk
from clever.errors import UserError
from clever.files import expanded

if TYPE_CHECKING:
    from clever.data.options import DataOptions
    from clever.data.source import SplitName

COUNTED_AT_MOST = 50_000
"""Folders with more training images are not counted, because listing a million files on a network takes minutes."""


def image_folders(root: Path, split: SplitName, place: Path | None, options: DataOptions) -> list[Path]:
    """The folders with a split's images: its class folders, or the split's own folder if it has none.

    Args:
        root: root folder of the data set.
        split: ``train`` or ``test``.
        place: the split's folder; None if there is none.
        options: options of the data set, whose source is ``image_folder``.

    Raises:
        UserError: a folder cannot be listed.
    """
    if place is None:
        return [root] if split == "train" and not options.labelled else []
    annotated = split == "test" and (options.test_labels is not None or labels_file(place) is not None)
    if annotated or not options.labelled:
        return [place]
    return [place / name for name in options.classes or folders_in(place)]


def image_files(folder: Path) -> Iterator[Path]:
    """Images in the folder or below it (Tiny-ImageNet nests them).

    Raises:
        OSError: a folder cannot be listed.
    """
    for parent, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not is_junk(name)]
        yield from (Path(parent, name) for name in files if name.lower().endswith(EXTENSIONS) and not is_junk(name))


def training_files(options: DataOptions) -> int | None:
    """The number of training images that an image folder can give: files, up to ``train_limit``.

    Fewer are prepared if some cannot be read. None if there are more than ``COUNTED_AT_MOST``, or if the folder does
    not exist or cannot be listed.

    Args:
        options: options of the data set, whose source is ``image_folder`` and whose root is a full path.
    """
    root, found = expanded(options.root or ""), 0
    try:
        for folder in image_folders(root, "train", find_split(root, "train"), options):
            found += sum(1 for _ in islice(image_files(folder), COUNTED_AT_MOST + 1 - found))
    except (OSError, UserError):  # preparation reports what is wrong
        return None
    if not 0 < found <= COUNTED_AT_MOST:
        return None
    return min(found, options.train_limit or found)


def _raise(error: OSError) -> None:
    raise error
