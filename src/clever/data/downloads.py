"""Unpack downloaded archives safely."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def nothing_leaves_the_folder() -> Iterator[None]:
    """Reject tar members that would be extracted outside the target, which not every torchvision and Python does by
    default."""
    if not hasattr(tarfile, "data_filter"):  # Python before 3.11.4
        yield
        return
    before = vars(tarfile.TarFile)["extraction_filter"]
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = before
