"""Options of protocol ``retrieval``."""

from __future__ import annotations

from pydantic import Field, PositiveInt, field_validator

from clever.evaluation.options.features import ExtractionOptions


class RetrievalOptions(ExtractionOptions):
    """The metrics to report."""

    hits: list[PositiveInt] = Field(default=[1, 2, 5, 10], min_length=1)
    """The values of k in H@k."""

    @field_validator("hits")
    @classmethod
    def _each_once(cls, hits: list[int]) -> list[int]:
        if len(set(hits)) < len(hits):
            raise ValueError(f"hits {hits} lists a number twice")
        return hits
