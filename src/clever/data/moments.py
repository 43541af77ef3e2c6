"""Mean and standard deviation of all pixels, exact and independent of the order of the pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Moments:
    """Per channel: number of pixels, their sum and their sum of squares, as integers in units of 0..255."""

    count: int = 0
    total: tuple[int, int, int] = (0, 0, 0)
    squares: tuple[int, int, int] = (0, 0, 0)

    def __add__(self, other: Moments) -> Moments:
        total = (self.total[0] + other.total[0], self.total[1] + other.total[1], self.total[2] + other.total[2])
        squares = (
            self.squares[0] + other.squares[0],
            self.squares[1] + other.squares[1],
            self.squares[2] + other.squares[2],
        )
        return Moments(self.count + other.count, total, squares)

    def mean(self) -> Triple:
        """Mean of each channel on the [0, 1] scale."""
        red, green, blue = (float(Fraction(total, 255 * self.count)) for total in self.total)
        return red, green, blue

    def std(self) -> Triple:
        """Population standard deviation of each channel on the [0, 1] scale."""
        # The numerator is a difference of integers, so there is no cancellation error.
        red, green, blue = (
            math.sqrt(Fraction(self.count * squares - total * total, (255 * self.count) ** 2))
            for total, squares in zip(self.total, self.squares, strict=True)
        )
        return red, green, blue


SLICE = 2**18
"""Number of pixels converted to float64 at a time. They take 6 MB; a whole photograph of 80 megapixels would take 1.9
GB."""


def moments(pixels: NDArray[np.uint8]) -> Moments:
    """The moments of ``pixels`` uint8 [..., 3]."""
    flat = pixels.reshape(-1, 3)
    total = Moments()
    for start in range(0, len(flat), SLICE):
        total += _moments_of_slice(flat[start : start + SLICE])
    return total


def _moments_of_slice(pixels: NDArray[np.uint8]) -> Moments:
    # float64 adds integers below 2**53 exactly, in any order, and the sums of slices are added as Python integers, so
    # the result does not depend on the slices.
    values = pixels.astype(np.float64)
    red, green, blue = (int(value) for value in values.sum(axis=0))
    red2, green2, blue2 = (int(value) for value in np.einsum("nc,nc->c", values, values))
    return Moments(len(values), (red, green, blue), (red2, green2, blue2))
