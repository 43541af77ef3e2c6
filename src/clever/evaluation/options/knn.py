"""Options of protocol ``knn``."""

from __future__ import annotations

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from clever.evaluation.options.features import FeatureOptions


class KnnOptions(FeatureOptions):
    """The vote of the neighbours."""

    neighbours: list[PositiveInt] = Field(default=[20, 200], min_length=1)
    """Numbers of neighbours; each gives one protocol (knn20, knn200; a single number is called knn). If there are fewer
    training images, all of them vote."""
    temperature: PositiveFloat = 0.07
    """Softmax temperature of the votes; a smaller one gives the nearest neighbours more weight."""

    @field_validator("neighbours")
    @classmethod
    def _each_once(cls, neighbours: list[int]) -> list[int]:
        if len(set(neighbours)) < len(neighbours):
            raise ValueError(f"neighbours {neighbours} lists a number twice")
        return neighbours
