"""Estimate the size of a data set's prepared store before it is prepared."""

from __future__ import annotations

import time
from itertools import islice

from clever.data import DataOptions
from clever.data.array_files import load_array
from clever.data.digits import DEFAULT_SIZE
from clever.data.folder_files import image_files, image_folders
from clever.data.folder_layout import find_split
from clever.data.registry import SOURCES
from clever.data.source import SplitName
from clever.data.spirograph import TEST_IMAGES, TRAIN_IMAGES
from clever.errors import UserError
from clever.files import expanded

LISTING_SECONDS = 2.0
_LABEL_BYTES = 8
_NAME_BYTES = 40
"""About what the name of an image file takes in the list that a store keeps."""

_LINK_BYTES = 200
"""About what path and checksum of an image take in a linked store."""

_PLACE_BYTES = 24
_SIZED_FILES = 20


def store_bytes(options: DataOptions) -> int | None:
    """Bytes of the store that these options produce; None where only preparing it would show.

    The counts come from the source, the limits, or the files in the folders, which are listed for at most two seconds.
    Encoded images are assumed to be as large as the average of the first twenty per class.
    """
    if options.source == "image_folder":
        return _of_folder(options)
    spirographs = (TRAIN_IMAGES, TEST_IMAGES) if options.source == "spirograph" else None
    known = SOURCES[options.source].counts or spirographs or _of_arrays(options)
    if options.format == "encoded":
        return None
    if known is None:
        if options.train_limit is None or options.test_limit is None:
            return None
        known = options.train_limit, options.test_limit
    side = options.image_size or DEFAULT_SIZE
    if options.source == "arrays" and options.image_size is None:
        side = _array_shape(options, "train")[1]
    name = _NAME_BYTES if SOURCES[options.source].files else 0
    return _limited(options, known) * (side**2 * 3 + _LABEL_BYTES + name)


def _limited(options: DataOptions, counts: tuple[int, int]) -> int:
    limits = options.train_limit, options.test_limit
    if options.source == "spirograph":
        return sum(limit or count for limit, count in zip(limits, counts, strict=True))
    return sum(min(limit or count, count) for limit, count in zip(limits, counts, strict=True))


def _of_arrays(options: DataOptions) -> tuple[int, int] | None:
    if options.source != "arrays":
        return None
    try:
        return _array_shape(options, "train")[0], _array_shape(options, "test")[0]
    except UserError:  # preparation reports what is wrong with them
        return None


def _array_shape(options: DataOptions, split: str) -> tuple[int, ...]:
    path = expanded(options.root or "") / f"{split}_images.npy"
    return load_array(path, memory_mapped=True).shape


def _of_folder(options: DataOptions) -> int | None:
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
        total += min(limit or count, count) * (one + _LABEL_BYTES + _NAME_BYTES)
    return int(total) or None
