"""Options of protocol ``equivariance``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from clever.evaluation.options.features import ImageOptions


class EquivarianceOptions(ImageOptions):
    """How many images are measured, and how finely."""

    images: Annotated[int, Field(ge=8)] = 500
    """Test images, drawn at random; all of them if there are fewer."""
    train_images: Annotated[int, Field(ge=8)] = 1500
    """Training images for the linear maps, the classifier, CKA and canonical correlation, drawn at random."""
    lie_images: Annotated[int, Field(ge=8)] = 256
    """How many of the test images serve the Lie derivative."""
    angle_step: Annotated[int, Field(ge=1, le=180)] = 15
    """Degrees between the angles of the distance curve, from this angle to 360."""
    lie_step: PositiveFloat = 0.01
    """The step t of the central difference (its units: ``equivariance/lie.py``)."""
    shifts: PositiveInt = 4
    """Random shifts of each test image."""
    largest_shift: Annotated[float, Field(gt=0.0, le=0.5)] = 0.125
    """Largest shift to either side, as a share of the image's side; at least one pixel."""
    penalties: list[PositiveFloat] = Field(default=[1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0], min_length=1)
    """Penalties of the linear maps and the classifier to choose from, in units of the features' mean variance."""
    reference_ir_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.8
    """For a run without a split: the share of its columns in the first of two random groups (the paper's IR: 0.8)."""
    random_groups: PositiveInt = 4
    """Pairs of random groups of columns, over which their CKA and canonical correlation are averaged."""
