"""Small heads and layers of every method, for tests that train one of each; a method that is not named has defaults."""

from __future__ import annotations

from typing import Any

from clever.baselines import BASELINES
from clever.equivariance import EQUIVARIANCES
from clever.options import Options

_HEAD = {"hidden_dim": 12, "out_dim": 8}

_HEADS: dict[str, dict[str, Any]] = {
    "dino": {"out_dim": 16, "bottleneck_dim": 8, "freeze_last_layer_epochs": 0, "momentum": 0.9},
    "simsiam": {"out_dim": 12, "predictor_dim": 6},
    "byol": {"momentum": 0.9},
    "moco_v3": {"momentum": 0.9},
    "swav": {"prototypes": 6, "freeze_prototypes_epochs": 0},
    "nnclr": {"queue_length": 64},
    "moco_v2": {"queue_length": 16, "momentum": 0.9, "key_groups": 2},
    "mochi": {"queue_length": 16, "momentum": 0.9, "hardest": 4, "start_epoch": 0},
    "obow": {"feature_maps": (0, 1), "vocabulary": 16, "hidden_dim": 12, "momentum": 0.9},
    "interclr": {
        **{"queue_length": 16, "momentum": 0.9, "images_per_cluster": 6, "min_cluster": 2, "clustering_epoch": 0},
        **{"pool_share": 0.5, "negatives": 4},
    },
    "supremix": {"window": 3.0},
    "w_mse": {"whitening_size": 2, "whitening_shrinkage": 0.2},
}
_ADD_ONS: dict[str, dict[str, Any]] = {
    "gradient": {"draws": 3, "upper_limit": 1e6},
    "essl": {"crop_size": 8, "hidden_dims": (12,)},
    "augself": {"hidden_dim": 12},
    "equimod": {"hidden_dim": 12, "out_dim": 8, "parameter_dim": 8},
    "sie": {"hidden_dim": 24, "out_dim": 24},
    "care": {"images_per_chunk": 2},
    "stl": {"transformation_dim": 4, "hidden_dim": 12, "out_dim": 8, "hypernetwork_start": "equal_length"},
    "star": {"experts": 2, "predictor_dim": 12},
    "ser": {"images": 4, "projector_dim": 8, "feature_map": 1},
}


def _fitting(settings: dict[str, Any], options: type[Options]) -> dict[str, Any]:
    """The settings that these options have."""
    return {name: value for name, value in settings.items() if name in options.model_fields}


def tiny_method(baseline: str, add_on: str) -> dict[str, Any]:
    """The method's options as plain mappings."""
    return {
        "baseline": {"name": baseline} | _fitting(_HEAD, BASELINES[baseline][1]) | _HEADS.get(baseline, {}),
        "equivariance": {"name": add_on} | _ADD_ONS.get(add_on, {}),
    }


def _rejected(baseline: str, add_on: str) -> bool:
    options = EQUIVARIANCES[add_on][1].model_validate({"name": add_on})
    return options.baseline_refusal(BASELINES[baseline][1].model_validate({"name": baseline})) is not None


REJECTED = [(baseline, add_on) for baseline in BASELINES for add_on in EQUIVARIANCES if _rejected(baseline, add_on)]
"""The pairs that ``baseline_refusal`` rejects; each add-on's own test names them."""

PAIRS = [(baseline, add_on) for baseline in BASELINES for add_on in EQUIVARIANCES if not _rejected(baseline, add_on)]
"""Every pair of baseline and add-on that can work."""
