"""The result of every source, for the preparation: class names and two splits that can be read row by row."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clever.data.decoding import UnreadableError

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, SplitName] = ("train", "test")

Latent = NDArray[np.generic]
"""The latents of one image as read: dtype and shape are checked later, by the preparation."""

FILE_LIMIT = 2**28
"""Largest image file in bytes that is read; a larger one is not a photograph and would fill the memory."""

NO_LABEL = -1
"""The label of every image of a data set without labels; such a data set has no classes."""

LATENT_LIMIT = 2**16
"""Largest file of latents in bytes that is read: enough for thousands of numbers; sources have about a dozen."""


@dataclass(frozen=True)
class ArraySplit:
    """Decoded images: ``images`` uint8 [N, H, W, 3] (may be memory-mapped), ``labels`` int64 [N].

    ``latents`` float32 [N, L] are known numbers of each image; ``groups`` int64 [N] numbers the object that each image
    shows; images of one object have one label.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    unreadable: Sequence[tuple[str, str]] = ()
    latents: NDArray[np.float32] | None = None
    groups: NDArray[np.int64] | None = None
    passed_over: Mapping[str, int] = field(default_factory=dict)

    def name(self, row: int) -> str:
        """The name of this row's image in messages."""
        return f"row {row}"

    def read(self, row: int) -> NDArray[np.uint8]:
        """Pixels uint8 [H, W, 3]."""
        image: NDArray[np.uint8] = self.images[row]
        return image

    def latent(self, row: int) -> Latent:
        """The latents of this row's image."""
        assert self.latents is not None
        latent: Latent = self.latents[row]
        return latent


@dataclass(frozen=True)
class FileSplit:
    """Encoded images: ``paths`` relative to ``root`` with forward slashes, ``labels`` int64 [N].

    ``unreadable`` lists (name, reason) of entries that failed when the folder was listed. ``latent_path`` maps the path
    of an image to that of the ``.npy`` file of its latents. Latents are read together with the image, because opening
    millions of files just to list them would take hours. ``groups`` as in :class:`ArraySplit`. ``passed_over`` counts
    the ignored files by reason (see ``image_files.Listing``).
    """

    root: Path
    paths: Sequence[str]
    labels: NDArray[np.int64]
    unreadable: Sequence[tuple[str, str]] = field(default=())
    latent_path: Callable[[str], str] | None = None
    groups: NDArray[np.int64] | None = None
    passed_over: Mapping[str, int] = field(default_factory=dict)

    def name(self, row: int) -> str:
        """The name of this row's image in messages: its path below the root."""
        return self.paths[row]

    def read(self, row: int) -> bytes:
        """The file's bytes; raises :class:`UnreadableError` if it cannot be read."""
        return read_regular(self.root / self.paths[row], FILE_LIMIT)

    def latent(self, row: int) -> Latent:
        """The image's latents; raises :class:`UnreadableError` if the file is missing, incomplete or holds pickles."""
        assert self.latent_path is not None
        path = self.latent_path(self.paths[row])
        name = path.rpartition("/")[2]
        try:
            found = np.load(BytesIO(read_regular(self.root / path, LATENT_LIMIT)), allow_pickle=False)
        except UnreadableError as error:
            raise UnreadableError(f"{name}: {error}") from error
        except Exception as error:
            # A damaged header can make numpy raise almost anything (ValueError, EOFError, MemoryError, UnicodeError).
            raise UnreadableError(f"{name}: not a complete .npy array without pickles") from error
        if not isinstance(found, np.ndarray):
            raise UnreadableError(f"{name}: not a single .npy array")
        return found

    def bytes_an_image(self, rows: NDArray[np.int64]) -> float:
        """Average size of a file in bytes, estimated from up to 200 of ``rows``."""
        sizes = []
        for row in rows[:: max(1, len(rows) // 200)]:
            try:
                sizes.append((self.root / self.paths[row]).stat().st_size)
            except OSError:  # it will be reported when it is read
                continue
        return float(np.mean(sizes)) if sizes else 0.0


@dataclass(frozen=True)
class Source:
    """A data set as read from its source: class names in label order, and its two splits.

    Without labels there are no classes, every label is ``NO_LABEL``, and ``test`` may be empty.

    ``origin`` is a short description of what was read (for ``store.json``), without absolute paths. ``latent_names``
    names the latents of every image, if both splits have them. ``notes`` are lines to show to the user once.
    """

    classes: tuple[str, ...]
    train: ArraySplit | FileSplit
    test: ArraySplit | FileSplit
    origin: str
    latent_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def split(self, name: SplitName) -> ArraySplit | FileSplit:
        """The split of that name."""
        return self.train if name == "train" else self.test


def read_regular(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes; raises :class:`UnreadableError` for anything else."""
    try:
        status = path.stat()
        # A pipe or a device would block or never end.
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("not a regular file")
        if status.st_size > limit:
            raise UnreadableError(f"{status.st_size / 1e6:.1f} MB, more than the {limit / 1e6:.1f} MB allowed")
        return path.read_bytes()
    except OSError as error:
        raise UnreadableError(error.strerror or type(error).__name__) from error
