"""What the program knows about a source of images before reading it."""

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

    ``reader`` names the function that turns options into a :class:`Source` (see :mod:`clever.implementation`), which is
    given ``arguments`` before the options. ``rootless`` says why the source needs no folder; it is empty if the source
    needs one. ``files``: the images are files of any size, so ``format: pixels`` needs an image size and ``format:
    encoded`` is possible. ``downloads``: torchvision can download the data set. ``counts`` are the numbers of training
    and test images, and ``side`` is the side of the images in pixels, where these are fixed. ``missing`` takes an
    existing ``root`` and returns one line on what it lacks, or None, without reading images. ``mean_class``: the
    literature reports the mean of the accuracies of the classes, because the test classes differ in size.
    ``definition`` is everything else that decides the content of a store; it is empty if the reader's code decides
    everything. ``latents`` are the names of the parameters from which the images were generated; a store keeps their
    values. ``object_views`` is the number of photographs of each object, or 0 if the images are not photographs of
    known objects. ``drawn``: the default numbers of training and test images of a source that draws its images;
    ``train_limit`` and ``test_limit`` replace them. ``size_estimate`` names the function that estimates the size of the
    store in bytes from the source's files, if the images cannot be counted from these facts. ``words`` describe in a
    sentence what the source reads, for the schema and the documentation.
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
        """A sentence on what the source reads and what its images come with."""
        latents = "; its images come with the latents that they were generated from" if self.latents else ""
        return (self.words or "is a source of images") + latents + "."
