"""One reader for all labelled data sets of image files that torchvision reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clever.data.downloads import nothing_leaves_the_folder
from clever.data.packed_layouts import misplaced
from clever.data.source import FileSplit, Source
from clever.data.subset import ranks_within_class
from clever.data.torchvision_kind import TorchvisionSet
from clever.errors import UserError
from clever.files import expanded

if TYPE_CHECKING:
    from clever.data.options import DataOptions


def read_torchvision(described: TorchvisionSet, options: DataOptions) -> Source:
    """The data set ``root/<folder>`` as torchvision reads it; ``download: true`` lets torchvision fetch it first.

    Labels follow torchvision's; classes without any image (in a part of a data set) are left out. A data set without
    official splits is split by class with a fixed seed, so that it is the same in every study.

    Raises:
        UserError: the folder is missing or elsewhere, a file in it is missing or damaged, or the download failed.
    """
    assert options.root is not None
    root = expanded(options.root)
    if not options.download:
        if not root.is_dir():
            raise UserError(f"{root}: no such folder (`root` of source {options.source})")
        lacking = misplaced(described.folder, root)
        if lacking is not None:
            raise UserError(lacking)
    if isinstance(described.train, int):
        whole = _read(described, None, root, options)
        chosen = _drawn_splits(whole.labels, described.train, described.test_images)
        parts = [_Part([whole.paths[row] for row in rows], whole.labels[rows], whole.names) for rows in chosen]
    else:
        parts = [
            _joined([_read(described, split, root, options) for split in splits])
            for splits in (described.train, described.test)
        ]
    present = np.unique(np.concatenate([part.labels for part in parts]))
    names = max((part.names for part in parts), key=len)
    if len(names) != len(present):
        if len(names) <= present[-1]:
            raise UserError(
                f"{root / described.folder}: has images of {len(present)} classes, but names of {len(names)}; unpack "
                "the data set again"
            )
        names = [names[label] for label in present]
    train, test = (
        FileSplit(root, part.paths, np.searchsorted(present, part.labels).astype(np.int64)) for part in parts
    )
    return Source(tuple(names), train, test, origin=f"torchvision {described.kind}")


@dataclass(frozen=True)
class _Part:
    """Paths below the root, labels int64 [N] and torchvision's class names."""

    paths: list[str]
    labels: NDArray[np.int64]
    names: list[str]


def _joined(parts: list[_Part]) -> _Part:
    paths = [path for part in parts for path in part.paths]
    return _Part(paths, np.concatenate([part.labels for part in parts]), parts[0].names)


def _read(described: TorchvisionSet, split: str | None, root: Path, options: DataOptions) -> _Part:
    """One split, or all images (None), listed by torchvision; no image is opened."""
    import torchvision

    family = getattr(torchvision.datasets, described.kind)
    try:
        with nothing_leaves_the_folder():
            found = family(str(root), download=options.download, **({} if split is None else {"split": split}))
        files, labels = _listed(found)
        paths = [Path(file).relative_to(root).as_posix() for file in files]
        names = [str(name) for name in getattr(found, "classes", None) or found.categories]
    except Exception as error:  # a damaged list makes torchvision and scipy raise almost any exception
        what = "could not download" if options.download else "could not read"
        again = "unpack the data set again" if not options.download else "try again, or unpack the archive there"
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{root / described.folder}: torchvision {what} {options.source} ({type(error).__name__}: {reason}); "
            f"{again}"
        ) from error
    if not paths:
        raise UserError(f"{root / described.folder}: torchvision lists no image of {options.source}")
    order = np.argsort(paths, kind="stable")  # some classes list files in the file system's order
    return _Part([paths[row] for row in order], np.asarray(labels, dtype=np.int64)[order], names)


def _listed(found: Any) -> tuple[Sequence[str | Path], Sequence[int]]:
    """Files and labels of a torchvision data set. Its public interface gives them only together with the decoded
    images."""
    if hasattr(found, "_samples"):
        files, labels = zip(*found._samples, strict=True)
        return files, labels
    if hasattr(found, "categories"):
        folder = Path(found.root) / "101_ObjectCategories"
        places = zip(found.y, found.index, strict=True)
        return [folder / found.categories[label] / f"image_{index:04d}.jpg" for label, index in places], found.y
    return getattr(found, "_image_files", None) or found._images, found._labels


def _drawn_splits(labels: NDArray[np.int64], train: int, test: int | None) -> tuple[NDArray[np.int64], ...]:
    """Rows of ``train`` images of each class and of ``test`` others (None: all others), ascending."""
    ranks = ranks_within_class(labels, 0, "torchvision", "split")
    last = np.iinfo(np.int64).max if test is None else train + test
    return np.flatnonzero(ranks < train), np.flatnonzero((ranks >= train) & (ranks < last))
