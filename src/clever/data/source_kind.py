"""What the program knows of a source of images before it reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clever.data.options import DataOptions
    from clever.data.source import Source


@dataclass(frozen=True)
class SourceKind:
    """The facts of one source.

    ``read`` turns options into a :class:`Source`. ``rootless`` says why the source needs no folder; empty where it
    needs one. ``files``: its images are files of any size, so that ``format: pixels`` needs an image size and
    ``format: encoded`` is possible. ``downloads``: torchvision can fetch it. ``counts`` are its training and test
    images, and ``side`` the side of its images in pixels, where they are fixed. ``missing`` takes ``root``, which
    exists, and returns one line on what it lacks, or None, without reading images. ``mean_class``: the literature
    reports the mean over classes of each class's accuracy, because the test classes differ in size. ``definition`` is
    everything else that decides the content of a store; it is empty where the code of ``read`` says it all.
    """

    read: Callable[[DataOptions], Source]
    rootless: str = ""
    files: bool = False
    downloads: bool = False
    counts: tuple[int, int] | None = None
    side: int | None = None
    missing: Callable[[Path], str | None] | None = None
    mean_class: bool = False
    definition: str = ""
