"""Options of Hallucinator."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from clever.baselines import BaselineOptions
from clever.equivariance.options.equivariance import EquivarianceOptions


class HallucinatorOptions(EquivarianceOptions):
    """Hallucinator's settings; the defaults are the authors'. It learns no equivariance: it changes the baseline."""

    name: Literal["hallucinator"] = "hallucinator"
    largest_extrapolation: float = Field(default=0.1, ge=0)
    """Largest distance of the point beyond p, as a share of the distance from k to p. The distance is drawn for every
    image, uniformly from 0 to this limit. Larger values make harder positives."""
    hidden_dim: PositiveInt | None = None
    """Width of the network's two hidden layers; null: twice the width of the baseline's outputs, as in the authors'
    code."""

    def baseline_refusal(self, baseline: BaselineOptions) -> str | None:
        if baseline.reads_samples:
            return (
                f"hallucinator makes positives from outputs alone, but the loss of {baseline.name} also depends on "
                "which images they are of; choose another baseline"
            )
        if baseline.compares == "scores":
            return (
                f"hallucinator makes positives from embeddings, but {baseline.name} compares scores of prototypes; "
                "choose another baseline"
            )
        return None
