"""Small heads and layers of every method, for tests that train one of each.

Every width is small. An item that needs other options declares them in its test file with ``TINY = {option: value}``.
"""

from __future__ import annotations

from typing import Any

from clever.baselines import BASELINES
from clever.equivariance import EQUIVARIANCES
from clever.options import Options

from .declared import declared


def tiny_method(baseline: str, add_on: str) -> dict[str, Any]:
    """The method's options as plain mappings."""
    return {
        "baseline": _tiny("baselines", baseline, BASELINES[baseline].options),
        "equivariance": _tiny("equivariance", add_on, EQUIVARIANCES[add_on].options),
    }


def _tiny(room: str, name: str, kind: type[Options]) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name}
    for option, field in kind.model_fields.items():
        if option.endswith("_dim") and isinstance(field.default, int):
            found[option] = 8 if option == "out_dim" else 12
        elif option.endswith("_dims"):
            found[option] = (12,)
    return found | (declared(room, name, "TINY") or {})


def _rejected(baseline: str, add_on: str) -> bool:
    options = EQUIVARIANCES[add_on].options.model_validate({"name": add_on})
    return options.baseline_refusal(BASELINES[baseline].options.model_validate({"name": baseline})) is not None


REJECTED = [(baseline, add_on) for baseline in BASELINES for add_on in EQUIVARIANCES if _rejected(baseline, add_on)]
"""The pairs that ``baseline_refusal`` rejects; each add-on's test names them."""

PAIRS = [(baseline, add_on) for baseline in BASELINES for add_on in EQUIVARIANCES if not _rejected(baseline, add_on)]
"""Every pair of baseline and add-on that can work."""
