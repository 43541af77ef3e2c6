"""What every source hands to the preparation: class names and two splits that can be read row by row."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clever.data.decoding import UnreadableError

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, SplitName] = ("train", "test")

FILE_LIMIT = 2**28
"""Bytes of the largest image file that is read; a larger one is no photograph and would only fill the memory."""


@dataclass(frozen=True)
class ArraySplit:
    """Decoded images: ``images`` uint8 [N, H, W, 3] (may be memory-mapped), ``labels`` int64 [N]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    unreadable: Sequence[tuple[str, str]] = ()

    def name(self, row: int) -> str:
        """How a message calls the image of this row."""
        return f"row {row}"

    def read(self, row: int) -> NDArray[np.uint8]:
        """Pixels uint8 [H, W, 3]."""
        image: NDArray[np.uint8] = self.images[row]
        return image


@dataclass(frozen=True)
class FileSplit:
    """Encoded images: ``paths`` relative to ``root`` with forward slashes, ``labels`` int64 [N].

    ``unreadable`` lists (name, reason) of entries that the listing of the folder had already to give up.
    """

    root: Path
    paths: Sequence[str]
    labels: NDArray[np.int64]
    unreadable: Sequence[tuple[str, str]] = field(default=())

    def name(self, row: int) -> str:
        """How a message calls the image of this row: its path below the root."""
        return self.paths[row]

    def read(self, row: int) -> bytes:
        """The file's bytes; raises :class:`UnreadableError` where there are none to be had."""
        path = self.root / self.paths[row]
        try:
            status = path.stat()
            # A pipe or a device would block or never end.
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError("not a regular file")
            if status.st_size > FILE_LIMIT:
                raise UnreadableError(f"{status.st_size / 1e6:.0f} MB, more than the {FILE_LIMIT / 1e6:.0f} MB allowed")
            return path.read_bytes()
        except OSError as error:
            raise UnreadableError(error.strerror or type(error).__name__) from error

    def bytes_an_image(self, rows: NDArray[np.int64]) -> float:
        """Bytes that one file takes on average, estimated from up to 200 of ``rows``."""
        sizes = []
        for row in rows[:: max(1, len(rows) // 200)]:
            try:
                sizes.append((self.root / self.paths[row]).stat().st_size)
            except OSError:  # it will be named when it is read
                continue
        return float(np.mean(sizes)) if sizes else 0.0


@dataclass(frozen=True)
class Source:
    """A data set as it was found: class names in label order, and its two splits.

    ``origin`` says in a few words what was read (for ``store.json``), without absolute paths.
    """

    classes: tuple[str, ...]
    train: ArraySplit | FileSplit
    test: ArraySplit | FileSplit
    origin: str

    def split(self, name: SplitName) -> ArraySplit | FileSplit:
        """The split of that name."""
        return self.train if name == "train" else self.test
