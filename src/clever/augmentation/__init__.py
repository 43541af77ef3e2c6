"""Training augmentations and perturbations, batched on the device; they return the parameters that they drew.

Options are imported at once; everything that needs torch is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clever.augmentation.options.augmentation import AugmentationOptions
from clever.augmentation.options.pairs import PairViewOptions
from clever.augmentation.options.perturbations import PERTURBATIONS, PerturbationOptions, scaled_to
from clever.augmentation.options.spirograph import SpirographViewOptions
from clever.augmentation.options.views import ExtraView, ViewOptions
from clever.implementation import attribute

if TYPE_CHECKING:
    from clever.augmentation.augmentation import Augmentation
    from clever.augmentation.pairs import PairViews
    from clever.augmentation.perturbations import perturb, perturbation_parameters
    from clever.augmentation.probe import probe_views
    from clever.augmentation.sample import Table
    from clever.augmentation.spirograph import SpirographViews
    from clever.augmentation.view_makers import make_view_maker, parameter_space
    from clever.augmentation.views import ParameterSpace, View, ViewMaker, chunk_views

VIEW_MAKERS: dict[type[ViewOptions], str] = {
    AugmentationOptions: "clever.augmentation.augmentation:Augmentation",
    SpirographViewOptions: "clever.augmentation.spirograph:SpirographViews",
    PairViewOptions: "clever.augmentation.pairs:PairViews",
}
"""The view maker for each class of options."""

_DEFINED_IN = {
    "Augmentation": "augmentation",
    "PairViews": "pairs",
    "ParameterSpace": "views",
    "SpirographViews": "spirograph",
    "Table": "sample",
    "View": "views",
    "ViewMaker": "views",
    "chunk_views": "views",
    "make_view_maker": "view_makers",
    "parameter_space": "view_makers",
    "perturb": "perturbations",
    "perturbation_parameters": "perturbations",
    "probe_views": "probe",
}
"""The module of each exported name that needs torch."""

__all__ = [
    "PERTURBATIONS",
    "VIEW_MAKERS",
    "Augmentation",
    "AugmentationOptions",
    "ExtraView",
    "PairViewOptions",
    "PairViews",
    "ParameterSpace",
    "PerturbationOptions",
    "SpirographViewOptions",
    "SpirographViews",
    "Table",
    "View",
    "ViewMaker",
    "ViewOptions",
    "chunk_views",
    "make_view_maker",
    "parameter_space",
    "perturb",
    "perturbation_parameters",
    "probe_views",
    "scaled_to",
]


def __getattr__(name: str) -> Any:
    return attribute(__name__, _DEFINED_IN, name)
