"""Options of protocol ``linear``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from clever.evaluation.options.features import FeatureOptions


class LinearOptions(FeatureOptions):
    """The training of the linear classifier. The defaults are the paper's."""

    epochs: PositiveInt = 100
    """Passes over the training images; use fewer for a quick look."""
    learning_rate: PositiveFloat = 0.001
    """Learning rate for a batch of 256; it is multiplied by batch_size / 256. Use a larger one for standardised
    features."""
    batch_size: PositiveInt = 256
    """Images per step of the classifier."""
    momentum: NonNegativeFloat = 0.9
    """Momentum of the SGD."""
    weight_decay: NonNegativeFloat = 0.0
    """Weight decay on weights and bias; raise it if a small training set is overfitted."""
    training_views: Literal["fresh", "plain"] | PositiveInt = "fresh"
    """fresh: crops and flips are drawn again every epoch (the paper; one pass of the backbone per epoch). A number k: k
    augmented versions are computed once, and epoch e uses version e mod k. plain: the unaugmented training images,
    computed once (CPU studies)."""
    standardise: bool = False
    """Shift and scale every feature to mean 0 and standard deviation 1 over the training views; for comparing backbones
    and controls whose features differ in scale under one learning rate. Not in the paper."""
    last_blocks: PositiveInt = 4
    """Number of a transformer's last blocks whose class tokens are used; other backbones use their output vector."""

    @model_validator(mode="after")
    def _training_views_survive(self) -> Self:
        if self.averaging and self.averaging.renders and self.training_views != "plain":
            raise ValueError(
                f"averaging.augmentation {self.averaging.augmentation.name} renders new images, which removes any "
                "crop: set training_views to plain"
            )
        return self
