"""Select the training images that keep their labels in a semi-supervised evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from clever.data.subset import ranks_within_class
from clever.errors import UserError


def stratified_subset(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """Rows of a random share of every class, ascending: int64 [M].

    Each class of n images keeps n * share of them, rounded to the nearest whole number (halves up), and at least one.
    A larger share contains all rows of a smaller one with the same seed.

    Args:
        labels: int64 [N].
        share: in (0, 1].
        seed: seed of the draw.

    Raises:
        UserError: ``share`` is not in (0, 1].
    """
    if not 0.0 < share <= 1.0:
        raise UserError(f"labelled share {share}: choose a number above 0 and at most 1, such as 0.01 for 1 %")
    counts = np.bincount(labels) if len(labels) else np.zeros(0, dtype=np.int64)
    quota = np.maximum(1, np.floor(counts * share + 0.5)).astype(np.int64)
    ranks = ranks_within_class(labels, seed, "labelled subset")
    return np.flatnonzero(ranks < quota[labels])


def listed_subset(names: Sequence[str], listed: Iterable[str], source: str) -> NDArray[np.int64]:
    """Rows of the listed images, ascending: int64 [M].

    SimCLR's lists contain one file name per line (``n04235860_14959.JPEG``), without folders, for all 1,000 classes of
    ImageNet. Listed images that the data set lacks are skipped, so the lists also suit ImageNet-100. Names are compared
    without folders, and ignoring the case of the suffix.

    Args:
        names: the file name of each of N images, with or without folders.
        listed: file names; empty lines are skipped.
        source: source of the list, for messages.

    Raises:
        UserError: no listed image exists, or a listed name matches several images.
    """
    wanted = {_bare(name) for name in listed if name.strip()}
    rows = [row for row, name in enumerate(names) if _bare(name) in wanted]
    if not rows:
        raise UserError(
            f"{source}: none of its {len(wanted)} file names is among the {len(names)} training images; "
            "a list for another data set?"
        )
    name, times = Counter(_bare(names[row]) for row in rows).most_common(1)[0]
    if times > 1:
        raise UserError(f"{source}: {name} matches {times} training images; a list needs unique file names")
    return np.asarray(rows, dtype=np.int64)


def missing_names(names: Sequence[str], listed: Iterable[str], classes: Sequence[str]) -> list[str]:
    """The listed images that a data set lacks although it has their class, in the order of the list.

    ImageNet's file names begin with their class (``n04235860_14959.JPEG``). If no listed name begins with a class of
    the data set, all missing images count.

    Args:
        names: the file name of each image of the data set, with or without folders.
        listed: file names; empty lines are skipped.
        classes: names of the data set's classes.
    """
    known, kinds = {_bare(name) for name in names}, frozenset(classes)
    wanted = [name.strip() for name in listed if name.strip()]
    of_class = [name for name in wanted if PurePosixPath(name).name.partition("_")[0] in kinds]
    return [name for name in of_class or wanted if _bare(name) not in known]


def _bare(name: str) -> str:
    path = PurePosixPath(name.strip())
    return path.stem + path.suffix.lower()
