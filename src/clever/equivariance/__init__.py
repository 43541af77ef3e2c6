"""Equivariance add-ons: what is learned besides invariance. One file an add-on; the registry below is all of them."""

from __future__ import annotations

from clever.equivariance.clever import Clever, CleverOptions
from clever.equivariance.ddcl import Ddcl, DdclOptions
from clever.equivariance.equivariance import Encoded, Equivariance, EquivarianceOptions, Term
from clever.equivariance.gradient import Gradient, GradientOptions
from clever.equivariance.none import NoEquivariance, NoneOptions

EQUIVARIANCES: dict[str, tuple[type[Equivariance], type[EquivarianceOptions]]] = {
    "none": (NoEquivariance, NoneOptions),
    "ddcl": (Ddcl, DdclOptions),
    "clever": (Clever, CleverOptions),
    "gradient": (Gradient, GradientOptions),
}

__all__ = ["EQUIVARIANCES", "Encoded", "Equivariance", "EquivarianceOptions", "Term"]
