"""The facts of labelled data sets of image files that torchvision reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from clever.data.packed_layouts import misplaced
from clever.data.source_kind import SourceKind


@dataclass(frozen=True)
class TorchvisionSet:
    """A class of ``torchvision.datasets`` and its splits, as :func:`torchvision_source` takes them."""

    kind: str
    folder: str
    train: tuple[str, ...] | int
    test: tuple[str, ...]
    test_images: int | None = None


def torchvision_source(
    kind: str,
    folder: str,
    train: tuple[str, ...] | int,
    test: tuple[str, ...] = (),
    *,
    counts: tuple[int, int],
    test_images: int | None = None,
    downloads: bool = True,
    mean_class: bool = False,
) -> SourceKind:
    """A labelled data set of image files that torchvision reads.

    Args:
        kind: name of the class in ``torchvision.datasets``.
        folder: its folder below ``root``, as the authors' archive or torchvision's download makes it.
        train, test: values of the class's argument ``split``; the images of several are joined. For a data set without
            official splits, ``train`` is the number of training images per class, drawn with a fixed seed, and ``test``
            is omitted.
        counts: numbers of training and test images of the complete data set.
        test_images: without official splits, the number of test images per class; None takes all remaining images.
        downloads: whether torchvision can still download it.
        mean_class: see :class:`SourceKind`.
    """
    described = TorchvisionSet(kind, folder, train, test, test_images)
    return SourceKind(
        "clever.data.torchvision_sets:read_torchvision",
        arguments=(described,),
        files=True,
        downloads=downloads,
        counts=counts,
        missing=partial(misplaced, folder),
        mean_class=mean_class,
        definition=repr(described),
        words=f"reads the official layout in ``{folder}`` with torchvision",
    )
