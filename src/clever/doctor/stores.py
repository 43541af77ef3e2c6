"""How large the prepared store of a data set will be, as far as that is known before it is prepared."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from clever.data import DataOptions
from clever.data.array_files import load_array
from clever.data.digits import DEFAULT_SIZE
from clever.data.image_files import EXTENSIONS
from clever.data.spirograph import TEST_IMAGES, TRAIN_IMAGES
from clever.errors import UserError
from clever.files import expanded

COUNTS = {
    "digits": (1437, 360),
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "spirograph": (TRAIN_IMAGES, TEST_IMAGES),
}
"""Training and test images of the sources that always have as many (spirographs: where no limit is given)."""

LISTING_SECONDS = 2.0
_LABEL_BYTES = 8
_PLACE_BYTES = 24
_SIZED_FILES = 20


def store_bytes(options: DataOptions) -> int | None:
    """Bytes of the store that these options lead to; None where only preparing it would tell.

    Counts are those of the source, of the limits, or of the files in the folders, which are listed for two seconds at
    most. Encoded images are taken to be as large as the first twenty of each class on average.
    """
    if options.source == "image_folder":
        return _of_folder(options)
    known = COUNTS.get(options.source) or _of_arrays(options)
    if known is None:
        if options.train_limit is None or options.test_limit is None or options.format == "encoded":
            return None
        known = options.train_limit, options.test_limit
    side = options.image_size or DEFAULT_SIZE
    if options.source == "arrays" and options.image_size is None:
        side = _array_shape(options, "train")[1]
    return _limited(options, known) * (side**2 * 3 + _LABEL_BYTES)


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
    except UserError:  # the preparation says what is wrong with them
        return None


def _array_shape(options: DataOptions, split: str) -> tuple[int, ...]:
    path = expanded(options.root or "") / f"{split}_images.npy"
    return load_array(path, memory_mapped=True).shape


def _of_folder(options: DataOptions) -> int | None:
    root, end = expanded(options.root or ""), time.monotonic() + LISTING_SECONDS
    second = "val" if (root / "val").is_dir() else "test"
    total = 0.0
    for split, limit in (("train", options.train_limit), (second, options.test_limit)):
        count, sizes = 0, list[int]()
        try:
            names = options.classes or sorted(entry.name for entry in os.scandir(root / split) if entry.is_dir())
            for name in names:
                files = list(_images(root / split / name))
                count += len(files)
                if options.format == "encoded":
                    sizes += [file.stat().st_size for file in islice(files, _SIZED_FILES)]
                if time.monotonic() > end:
                    return None
        except OSError:
            return None
        if options.format == "encoded":
            one = sum(sizes) / max(len(sizes), 1) + _PLACE_BYTES  # where its bytes begin, its height and its width
        else:
            one = 3 * (options.image_size or 0) ** 2
        total += min(limit or count, count) * (one + _LABEL_BYTES)
    return int(total) or None


def _images(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if entry.name.lower().endswith(EXTENSIONS))
