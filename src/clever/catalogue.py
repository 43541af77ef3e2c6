"""What there is to choose from, read off the registries."""

from __future__ import annotations

from typing import get_args

from clever.augmentation import PERTURBATIONS, AugmentationOptions
from clever.backbones import BACKBONES
from clever.baselines import BASELINES
from clever.data import SOURCES
from clever.equivariance import EQUIVARIANCES
from clever.evaluation import PROTOCOLS


def catalogue() -> dict[str, list[str]]:
    """The names of everything that a study can name, by kind."""
    return {
        "baselines": list(BASELINES),
        "equivariances": list(EQUIVARIANCES),
        "backbones": list(BACKBONES),
        "augmentations": list(get_args(AugmentationOptions.model_fields["name"].annotation)),
        "perturbations": list(PERTURBATIONS),
        "protocols": list(PROTOCOLS),
        "sources": list(SOURCES),
    }
