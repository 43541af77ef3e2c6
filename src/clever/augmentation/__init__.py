"""Training recipes and perturbations, batched on the device; they hand back the parameters that they drew."""

from __future__ import annotations

from clever.augmentation.options import AugmentationOptions
from clever.augmentation.perturbations import (
    PERTURBATIONS,
    PerturbationOptions,
    perturb,
    perturbation_parameters,
)
from clever.augmentation.probe import probe_views
from clever.augmentation.recipes import Augmentation, View
from clever.augmentation.sample import Table

__all__ = [
    "PERTURBATIONS",
    "Augmentation",
    "AugmentationOptions",
    "PerturbationOptions",
    "Table",
    "View",
    "perturb",
    "perturbation_parameters",
    "probe_views",
]
