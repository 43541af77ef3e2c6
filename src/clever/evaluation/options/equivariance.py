"""Options of protocol ``equivariance``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from clever.evaluation.options.features import ImageOptions


class EquivarianceOptions(ImageOptions):
    """The number of images, and the resolution of the measurements."""

    images: Annotated[int, Field(ge=8)] = 500
    """Number of test images, drawn at random; all of them if there are fewer."""
    train_images: Annotated[int, Field(ge=8)] = 1500
    """Number of training images for the linear maps, the classifier, CKA and canonical correlation, drawn at random."""
    lie_images: Annotated[int, Field(ge=8)] = 256
    """Number of test images for the Lie derivative."""
    angle_step: Annotated[int, Field(ge=1, le=180)] = 15
    """Step in degrees between the angles of the distance curve, which go from this angle to 360."""
    lie_step: PositiveFloat = 0.01
    """The step t of the central difference (its units: ``equivariance/lie.py``)."""
    shifts: PositiveInt = 4
    """Number of random shifts of each test image."""
    largest_shift: Annotated[float, Field(gt=0.0, le=0.5)] = 0.125
    """Largest shift to either side, as a share of the image's side; at least one pixel."""
    penalties: list[PositiveFloat] = Field(default=[1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0], min_length=1)
    """Candidate penalties for the linear maps and the classifier, in units of the features' mean variance."""
    reference_ir_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.8
    """For a run without a split: the share of columns in the first of two random groups (the paper's IR: 0.8)."""
    random_groups: PositiveInt = 4
    """Number of pairs of random groups of columns over which CKA and canonical correlation are averaged."""
