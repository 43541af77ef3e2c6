"""Equivariance add-ons: what is learned in addition to invariance. One file per add-on, and one for its options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clever.equivariance.options.augself import AugselfOptions
from clever.equivariance.options.care import CareOptions
from clever.equivariance.options.clever import CleverOptions
from clever.equivariance.options.ddcl import DdclOptions
from clever.equivariance.options.equimod import EquimodOptions
from clever.equivariance.options.equivariance import EquivarianceOptions
from clever.equivariance.options.essl import EsslOptions
from clever.equivariance.options.gradient import GradientOptions
from clever.equivariance.options.hallucinator import HallucinatorOptions
from clever.equivariance.options.none import NoneOptions
from clever.equivariance.options.ser import SerOptions
from clever.equivariance.options.sie import SieOptions
from clever.equivariance.options.star import StarOptions
from clever.equivariance.options.stl import StlOptions
from clever.implementation import Registered, attribute

if TYPE_CHECKING:
    from clever.equivariance.batch import Batch, Encoded, Heads, Term
    from clever.equivariance.equivariance import Equivariance
    from clever.equivariance.objective import Objective
    from clever.equivariance.predictor import Predictor, load_predictor

EQUIVARIANCES: dict[str, Registered[EquivarianceOptions, Equivariance]] = {
    "none": Registered(NoneOptions, "clever.equivariance.none:NoEquivariance"),
    "ddcl": Registered(DdclOptions, "clever.equivariance.ddcl:Ddcl"),
    "clever": Registered(CleverOptions, "clever.equivariance.clever:Clever"),
    "gradient": Registered(GradientOptions, "clever.equivariance.gradient:Gradient"),
    "sie": Registered(SieOptions, "clever.equivariance.sie:Sie"),
    "essl": Registered(EsslOptions, "clever.equivariance.essl:Essl"),
    "equimod": Registered(EquimodOptions, "clever.equivariance.equimod:Equimod"),
    "augself": Registered(AugselfOptions, "clever.equivariance.augself:Augself"),
    "care": Registered(CareOptions, "clever.equivariance.care:Care"),
    "stl": Registered(StlOptions, "clever.equivariance.stl:Stl"),
    "ser": Registered(SerOptions, "clever.equivariance.ser:Ser"),
    "star": Registered(StarOptions, "clever.equivariance.star:Star"),
    "hallucinator": Registered(HallucinatorOptions, "clever.equivariance.hallucinator:Hallucinator"),
}

_DEFINED_IN = {
    "Batch": "batch",
    "Encoded": "batch",
    "Equivariance": "equivariance",
    "Heads": "batch",
    "Objective": "objective",
    "Predictor": "predictor",
    "Term": "batch",
    "load_predictor": "predictor",
}
"""The module of each exported name that needs torch."""


def __getattr__(name: str) -> Any:
    return attribute(__name__, _DEFINED_IN, name)


__all__ = [
    "EQUIVARIANCES",
    "Batch",
    "Encoded",
    "Equivariance",
    "EquivarianceOptions",
    "Heads",
    "Objective",
    "Predictor",
    "Term",
    "load_predictor",
]
