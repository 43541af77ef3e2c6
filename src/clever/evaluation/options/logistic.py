"""Options of protocol ``logistic``."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from clever.evaluation.options.features import FeatureOptions

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class LogisticOptions(FeatureOptions):
    """The choice of the classifier's penalty. The defaults follow the transfer literature."""

    penalties: PositiveInt = 45
    """Number of penalties to try, evenly spaced on a logarithmic scale; use fewer for a quick look."""
    smallest_penalty: PositiveFloat = 1e-6
    """Weakest penalty; raise it if the weakest ones take long and are never chosen."""
    largest_penalty: PositiveFloat = 1e5
    """Strongest penalty."""
    validation_share: Share = 0.2
    """Share of the training images of each class used to choose the penalty; the final fit uses all images."""
    choose_by: str = Field(default="top1", pattern="^(top1|mean_class)$")
    """The score on validation images: top1, or mean_class for data sets whose classes differ in size (Aircraft,
    Caltech-101, Flowers, Pets)."""
    max_iterations: PositiveInt = 1000
    """Largest number of iterations of each fit; raise it if many fits are reported as not converged."""
    last_blocks: PositiveInt = 1
    """Number of a transformer's last blocks whose class tokens are used; other backbones use their output vector."""

    @model_validator(mode="after")
    def _penalties_ascend(self) -> Self:
        if self.smallest_penalty > self.largest_penalty:
            raise ValueError(
                f"smallest_penalty {self.smallest_penalty} must be at most largest_penalty {self.largest_penalty}"
            )
        return self
