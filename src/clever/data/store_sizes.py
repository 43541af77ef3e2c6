"""Estimates of the size of a store from the files of its source, before anything is prepared.

These estimates are for sources whose number of images is not recorded in ``SourceKind``.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

from clever.data.array_files import load_array
from clever.data.folder_files import image_files, image_folders
from clever.data.folder_layout import find_split
from clever.data.source import SPLITS, SplitName
from clever.errors import UserError
from clever.files import expanded

if TYPE_CHECKING:
    from clever.data.options import DataOptions

LISTING_SECONDS = 2.0
LABEL_BYTES = 8
NAME_BYTES = 40
"""Approximate number of bytes of an image file's name in the list that a store keeps."""

_LINK_BYTES = 200
"""Approximate number of bytes of the path and checksum of an image in a linked store."""

_PLACE_BYTES = 24
_SIZED_FILES = 20


def arrays_bytes(options: DataOptions) -> int | None:
    """Bytes of the store of ``{train,test}_images.npy``, from the shapes of the arrays; None if they cannot be read."""
    total, side = 0, options.image_size
    limits = {"train": options.train_limit, "test": options.test_limit}
    try:
        for split in SPLITS:
            path = expanded(options.root or "") / f"{split}_images.npy"
            count, height = load_array(path, memory_mapped=True).shape[:2]
            side = side or height
            total += min(limits[split] or count, count) * (3 * side**2 + LABEL_BYTES)
    except (UserError, ValueError):  # preparation reports what is wrong with them
        return None
    return total


def folder_bytes(options: DataOptions) -> int | None:
    """Bytes of the store of an image folder. The files are listed for at most two seconds; None if that is too short.

    Encoded images are assumed to be as large as the average of the first twenty per class.
    """
    root, end = expanded(options.root or ""), time.monotonic() + LISTING_SECONDS
    total = 0.0
    limits: tuple[tuple[SplitName, int | None], ...] = (("train", options.train_limit), ("test", options.test_limit))
    for split, limit in limits:
        count, sizes = 0, list[int]()
        try:
            place = find_split(root, split)
            for folder in image_folders(root, split, place, options):
                files = list(image_files(folder))
                count += len(files)
                if options.format == "encoded" and not options.linked:
                    sizes += [file.stat().st_size for file in islice(files, _SIZED_FILES)]
                if time.monotonic() > end:
                    return None
        except (OSError, UserError):  # preparation reports what is wrong
            return None
        if options.format == "encoded":
            image = _LINK_BYTES if options.linked else sum(sizes) / max(len(sizes), 1)
            one = image + _PLACE_BYTES  # its offset, height and width
        else:
            one = 3 * (options.image_size or 0) ** 2
        total += min(limit or count, count) * (one + LABEL_BYTES + NAME_BYTES)
    return int(total) or None
