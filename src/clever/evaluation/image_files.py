"""Image files of the data sets that evaluations read from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clever.parsing import foreign

_FAULT, _ADVICE = "cannot be read as an image", "unpack the data set again"


class Images(Protocol):
    """Images uint8 [H, W, 3] by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> NDArray[np.uint8]: ...


def read_image(path: Path, mode: str | None = "RGB") -> NDArray[np.uint8]:
    """The pixels of an image file, uint8: [H, W, 3] for ``RGB``, [H, W] for ``L``.

    ``mode`` None keeps the indices of a palette or the levels of a grey image, [H, W].

    Raises:
        UserError: the file is missing or is not an image.
    """
    with foreign(path, _FAULT, _ADVICE), Image.open(path) as image:
        if mode is None:
            return np.asarray(image if image.mode in ("P", "L") else image.convert("L"))
        return np.asarray(image.convert(mode))


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, from the file's header.

    Raises:
        UserError: the file is missing or is not an image.
    """
    with foreign(path, _FAULT, _ADVICE), Image.open(path) as image:
        return image.size
