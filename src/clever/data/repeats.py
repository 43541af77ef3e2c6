"""Images that occur more than once in a data set: in both splits, or with two labels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clever.data.source import SplitName

EXAMPLES = 3
"""Number of examples to list."""


def pixel_digest(pixels: NDArray[np.uint8]) -> int:
    """A 64-bit hash of shape and pixels: equal images have the same digest. The probability that any two of a million
    different images collide is 3e-8.
    """
    whole = hashlib.blake2b(str(pixels.shape).encode(), digest_size=8)
    whole.update(np.ascontiguousarray(pixels).data)
    return int.from_bytes(whole.digest(), "big")


@dataclass(frozen=True)
class Known:
    """Facts about the images of a split: ``digests`` uint64 [N], ``labels`` int64 [N], ``name`` of each row."""

    digests: NDArray[np.uint64]
    labels: NDArray[np.int64]
    name: Callable[[int], str]


@dataclass(frozen=True)
class Repeats:
    """Numbers of images that occur more than once, with a few examples.

    ``in_both_splits`` counts test images with the same pixels as a training image, ``under_two_labels`` distinct images
    that occur with two or more labels. An example lists two names.
    """

    in_both_splits: int
    under_two_labels: int
    examples_in_both: list[list[str]]
    examples_under_two: list[list[str]]


def find_repeats(splits: dict[SplitName, Known]) -> Repeats:
    """Compare the stored images of both splits pixel by pixel (by digest)."""
    train, test = splits["train"], splits["test"]
    first = {int(digest): row for row, digest in reversed(list(enumerate(train.digests.tolist())))}
    shared = np.flatnonzero(np.isin(test.digests, train.digests)).tolist()
    both = [[train.name(first[int(test.digests[row])]), test.name(row)] for row in shared[:EXAMPLES]]

    digests = np.concatenate([train.digests, test.digests])
    labels = np.concatenate([train.labels, test.labels])
    order = np.lexsort((labels, digests))
    digests, labels = digests[order], labels[order]
    differs = np.flatnonzero((digests[1:] == digests[:-1]) & (labels[1:] != labels[:-1]))
    _, once = np.unique(digests[differs], return_index=True)

    def name(place: int) -> str:
        row = int(order[place])
        return train.name(row) if row < len(train.labels) else test.name(row - len(train.labels))

    two = [[name(place), name(place + 1)] for place in differs[once][:EXAMPLES].tolist()]
    return Repeats(len(shared), len(once), both, two)


def described(repeats: Repeats) -> list[str]:
    """One line for each kind of repeat that occurs."""
    lines = []
    if repeats.in_both_splits:
        names = ", ".join(" = ".join(pair) for pair in repeats.examples_in_both)
        lines.append(f"{repeats.in_both_splits} test images are also training images, pixel by pixel ({names})")
    if repeats.under_two_labels:
        names = ", ".join(" = ".join(pair) for pair in repeats.examples_under_two)
        lines.append(f"{repeats.under_two_labels} images occur with two labels, pixel by pixel ({names})")
    return lines
