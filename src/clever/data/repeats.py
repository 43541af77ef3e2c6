"""Images that a data set holds more than once: in both splits, or under two labels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clever.data.source import SplitName

EXAMPLES = 3
"""How many are named."""


def pixel_digest(pixels: NDArray[np.uint8]) -> int:
    """64 bits that two images share where they have the same shape and pixels, and else but by chance.

    Two of a million different images share them with a probability of 3e-8.
    """
    whole = hashlib.blake2b(str(pixels.shape).encode(), digest_size=8)
    whole.update(np.ascontiguousarray(pixels).data)
    return int.from_bytes(whole.digest(), "big")


@dataclass(frozen=True)
class Known:
    """What is known of the images of a split: ``digests`` uint64 [N], ``labels`` int64 [N], ``name`` of each row."""

    digests: NDArray[np.uint64]
    labels: NDArray[np.int64]
    name: Callable[[int], str]


@dataclass(frozen=True)
class Repeats:
    """How many images occur more than once, with a few names.

    ``in_both_splits`` counts test images whose pixels are those of a training image, ``under_two_labels`` different
    images that occur under two labels or more. An example lists two names.
    """

    in_both_splits: int
    under_two_labels: int
    examples_in_both: list[list[str]]
    examples_under_two: list[list[str]]


def find_repeats(splits: dict[SplitName, Known]) -> Repeats:
    """Compare the images of both splits, as they are stored, pixel by pixel (by digest)."""
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
    """A line for each kind that occurs."""
    lines = []
    if repeats.in_both_splits:
        names = ", ".join(" = ".join(pair) for pair in repeats.examples_in_both)
        lines.append(f"{repeats.in_both_splits} test images are training images too, pixel by pixel ({names})")
    if repeats.under_two_labels:
        names = ", ".join(" = ".join(pair) for pair in repeats.examples_under_two)
        lines.append(f"{repeats.under_two_labels} images occur under two labels, pixel by pixel ({names})")
    return lines
