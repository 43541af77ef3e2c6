"""What the program knows of a source of images before it reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clever.implementation import implementation

if TYPE_CHECKING:
    from clever.data.options import DataOptions
    from clever.data.source import Source


@dataclass(frozen=True)
class SourceKind:
    """The facts of one source.

    ``reader`` names the function that turns options into a :class:`Source` (see :mod:`clever.implementation`), which
    is given ``arguments`` before the options. ``rootless`` says why the source needs no folder; empty where it needs
    one. ``files``: its images are files of any size, so that ``format: pixels`` needs an image size and ``format:
    encoded`` is possible. ``downloads``: torchvision can fetch it. ``counts`` are its training and test images, and
    ``side`` the side of its images in pixels, where they are fixed. ``missing`` takes ``root``, which exists, and
    returns one line on what it lacks, or None, without reading images. ``mean_class``: the literature reports the
    mean over classes of each class's accuracy, because the test classes differ in size. ``definition`` is everything
    else that decides the content of a store; it is empty where the code of the reader says it all. ``latents`` are
    the names of the parameters that its images were generated from, which a store keeps. ``object_views`` is the
    number of photographs of each object, 0 if its images are not photographs of known objects. ``drawn`` are the
    training and test images of a source that draws as many as its limits say, without limits. ``size_estimate`` names
    the function that estimates the size of its store in bytes from its files, where its images cannot be counted from
    these facts. ``words`` say in a sentence what it reads, for the schema and the documentation.
    """

    reader: str
    arguments: tuple[object, ...] = ()
    rootless: str = ""
    files: bool = False
    downloads: bool = False
    counts: tuple[int, int] | None = None
    side: int | None = None
    missing: Callable[[Path], str | None] | None = None
    mean_class: bool = False
    definition: str = ""
    latents: tuple[str, ...] = ()
    object_views: int = 0
    drawn: tuple[int, int] | None = None
    size_estimate: str | None = None
    words: str = ""

    @property
    def read(self) -> Callable[[DataOptions], Source]:
        """The reader, imported."""
        return partial(implementation(self.reader), *self.arguments)

    @property
    def store_bytes(self) -> Callable[[DataOptions], int | None] | None:
        """The function that estimates the size of the store, imported; None if there is none."""
        return None if self.size_estimate is None else implementation(self.size_estimate)

    @property
    def sentence(self) -> str:
        """What the source reads and what its images come with."""
        latents = "; its images come with the latents that they were generated from" if self.latents else ""
        return (self.words or "is a source of images") + latents + "."
