"""Options of protocol ``latents``."""

from __future__ import annotations

from pydantic import Field, PositiveFloat

from clever.evaluation.options.features import FeatureOptions


class LatentsOptions(FeatureOptions):
    """The latents to regress, and the penalty."""

    perturbations: list[str] = Field(default=["orig"], min_length=1)
    """The perturbations to report; orig means the stored images. The regression is fitted on unperturbed training
    images."""
    targets: list[str] | None = Field(default=None, min_length=1)
    """Names of the store's latents to regress; ``mean_mse`` is the mean over them. Omit for all latents, or for
    spirographs the paper's four (m, b, sigma, rfore)."""
    penalty: PositiveFloat = 1e-8
    """Penalty on the squared weights, added to the mean squared error (Foster et al.: 1e-8); raise it if there are few
    images for many features."""
