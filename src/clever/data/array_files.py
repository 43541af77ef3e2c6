"""Read ``.npy`` files of unknown origin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clever.errors import UserError
from clever.parsing import foreign, lacks_memory, require_regular


def load_array(path: Path, *, memory_mapped: bool, advice: str = "") -> NDArray[np.generic]:
    """Load the array of a ``.npy`` file; pickles are rejected.

    The file is memory-mapped first. This compares its length with its header, so a header that claims terabytes does
    not allocate memory.

    Args:
        path: the file.
        memory_mapped: whether the array stays on disk until it is read.
        advice: what the user should do about a damaged file.

    Raises:
        UserError: the file is missing, not a regular file, damaged, truncated, holds several arrays or Python objects,
            or this process cannot allocate the memory (or address space) for it.
    """
    with foreign(path, "not a complete .npy array without pickles", advice):
        try:
            require_regular(path)
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file" + (f"; {advice}" if advice else "")) from None
        except ValueError as error:
            if lacks_memory(error.__context__ or error):
                raise error.__context__ or error from None
            raise
        if not isinstance(array, np.ndarray):
            raise UserError(f"{path}: not a single .npy array")
        # A plain array over the same mapping: np.memmap's own indexing is slow.
        return np.asarray(array) if memory_mapped else np.array(array)
