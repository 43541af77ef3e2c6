"""The ten numbers of a Spirograph image of Foster, Pukdee and Rainforth (ICLR 2021): names, ranges and roles.

The ranges are those of the authors' code (ae-foster/invclr:data/configs.py). :mod:`clever.spirograph_images` draws the
images.
"""

from __future__ import annotations

from typing import Literal, get_args

Name = Literal["m", "b", "sigma", "rfore", "h", "rback", "gfore", "gback", "bfore", "bback"]
"""The ten numbers: the curve's m, b and h, its width sigma, and red, green and blue of fore- and background."""

NAMES: tuple[Name, ...] = get_args(Name)
"""Names of the columns of a row of parameters, in order."""

OF_INTEREST: tuple[Name, ...] = NAMES[:4]
"""The parameters that the paper's downstream task predicts."""

NUISANCES: tuple[Name, ...] = NAMES[4:]
"""The parameters that differ between two views of a sample in the paper."""

RANGES: dict[Name, tuple[float, float]] = {
    "m": (2.0, 5.0),
    "b": (0.1, 1.1),
    "sigma": (0.25, 1.0),
    "rfore": (0.4, 1.0),
    "h": (0.5, 2.5),
    "rback": (0.0, 0.6),
    "gfore": (0.4, 1.0),
    "gback": (0.0, 0.6),
    "bfore": (0.4, 1.0),
    "bback": (0.0, 0.6),
}
"""Each parameter is drawn uniformly and independently from its range."""

SIZE = 32
"""Side of an image in pixels."""

TRAIN_IMAGES = 5000
TEST_IMAGES = 1000
"""Number of images drawn for each of the two splits if the data set does not limit them."""
