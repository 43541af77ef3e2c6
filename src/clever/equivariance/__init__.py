"""Equivariance add-ons: what is learned in addition to invariance. One file per add-on, one registry."""

from __future__ import annotations

from clever.equivariance.augself import Augself, AugselfOptions
from clever.equivariance.batch import Batch, Encoded, Heads, Term
from clever.equivariance.care import Care, CareOptions
from clever.equivariance.clever import Clever, CleverOptions
from clever.equivariance.ddcl import Ddcl, DdclOptions
from clever.equivariance.equimod import Equimod, EquimodOptions
from clever.equivariance.equivariance import Equivariance, EquivarianceOptions
from clever.equivariance.essl import Essl, EsslOptions
from clever.equivariance.gradient import Gradient, GradientOptions
from clever.equivariance.hallucinator import Hallucinator, HallucinatorOptions
from clever.equivariance.none import NoEquivariance, NoneOptions
from clever.equivariance.objective import Objective
from clever.equivariance.predictor import Predictor, load_predictor
from clever.equivariance.ser import Ser, SerOptions
from clever.equivariance.sie import Sie, SieOptions
from clever.equivariance.star import Star, StarOptions
from clever.equivariance.stl import Stl, StlOptions

EQUIVARIANCES: dict[str, tuple[type[Equivariance], type[EquivarianceOptions]]] = {
    "none": (NoEquivariance, NoneOptions),
    "ddcl": (Ddcl, DdclOptions),
    "clever": (Clever, CleverOptions),
    "gradient": (Gradient, GradientOptions),
    "sie": (Sie, SieOptions),
    "essl": (Essl, EsslOptions),
    "equimod": (Equimod, EquimodOptions),
    "augself": (Augself, AugselfOptions),
    "care": (Care, CareOptions),
    "stl": (Stl, StlOptions),
    "ser": (Ser, SerOptions),
    "star": (Star, StarOptions),
    "hallucinator": (Hallucinator, HallucinatorOptions),
}

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
