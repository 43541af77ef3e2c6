"""The runs and evaluations whose numbers are pinned, all on tiny drawn images."""

from __future__ import annotations

from typing import Any

from clever.pretraining.recipe import RunRecipe

from ..tiny_methods import tiny_method

SIDE = 16

_BASELINES = (
    *("dino", "simsiam", "simclr", "dcl", "dclw", "byol", "moco_v3"),
    *("barlow_twins", "vicreg", "swav", "nnclr", "mv_infonce", "mv_dhel"),
)
_LATER_BASELINES = (
    *("moco_v2", "mochi", "w_mse", "cacr", "groco", "lejepa", "visreg"),
    *("supremix", "obow"),
)
_TINY: dict[str, dict[str, Any]] = {
    "dino": {"out_dim": 16, "hidden_dim": 12, "bottleneck_dim": 8, "momentum": 0.9},
    "simsiam": {"hidden_dim": 12, "out_dim": 12, "predictor_dim": 6},
    "byol": {"hidden_dim": 12, "out_dim": 8, "momentum": 0.9},
    "moco_v3": {"hidden_dim": 12, "out_dim": 8, "momentum": 0.9},
    "swav": {"hidden_dim": 12, "out_dim": 8, "prototypes": 6, "queue_length": 16, "queue_start_epoch": 0},
    "nnclr": {"hidden_dim": 12, "out_dim": 8, "queue_length": 32},
}
_TINY_PROJECTOR = {"hidden_dim": 12, "out_dim": 8}
_PARTNERS = {
    "gradient": ("dino", "simsiam"),
    "essl": ("dino", "simclr"),
    "augself": ("moco_v3", "simclr"),
    "equimod": ("dino", "simclr"),
    "sie": ("dino", "vicreg"),
}
_LATER_PARTNERS = {
    "care": ("simclr",),
    "stl": ("simclr",),
    "ser": ("simclr", "moco_v3"),
    "star": ("simclr",),
    "hallucinator": ("simsiam", "moco_v2"),
}
_ACCEPT_LOCAL_VIEWS = ("dino", "swav", "mv_infonce", "mv_dhel")
_PAIRS = {"name": "pairs", "global_size": SIDE, "relative": "rotation_and_colour"}
_SPIROGRAPHS = {"name": "spirograph"}


def pinned_recipes() -> dict[str, RunRecipe]:
    """The recipes of all pinned runs, by readable names.

    They contain every baseline alone, the first baselines with DDCL and with CLeVER, every other add-on with one or two
    baselines, and one run for each option that changes a step. ``RunRecipe.data`` names the store that a run trains on.
    InterCLR compares images only after the start of an epoch, so it is pinned as a whole run.
    """
    pairs = [
        *(dict.fromkeys(("none", "ddcl", "clever"), _BASELINES) | _PARTNERS).items(),
        ("none", _LATER_BASELINES),
        *_LATER_PARTNERS.items(),
    ]
    found = {f"{baseline}+{add_on}": _recipe(baseline, add_on) for add_on, partners in pairs for baseline in partners}
    found |= {
        "dino+clever, adamw": _recipe("dino", "clever", optimisation={"optimiser": "adamw"}),
        "dino+clever, lars": _recipe("dino", "clever", optimisation={"optimiser": "lars"}),
        "dino+clever, accumulate 2": _recipe("dino", "clever", optimisation={"accumulate": 2}),
        "dino+clever, skip": _recipe("dino", "clever", optimisation={"non_finite": "skip"}),
        "dino+clever, recomputed": _recipe("dino", "clever", optimisation={"checkpoint_activations": True}),
        "dino+clever, vit": _recipe("dino", "clever", backbone={"name": "test_vit", "patch_size": 8}),
        "byol+clever, vit with drop path": _recipe(
            "byol", "clever", backbone={"name": "test_vit", "patch_size": 8, "drop_path": 0.2}
        ),
        "dino+clever, another EF head": _recipe("dino", "clever", {"ef_baseline": {"out_dim": 8}}),
        "dino+clever, last layers left out": _recipe("dino", "clever", {"head_norm_last_layer": False}),
        "simsiam+clever, last layers left out": _recipe("simsiam", "clever", {"head_norm_last_layer": False}),
        "simclr+essl, accumulate 2": _recipe("simclr", "essl", optimisation={"accumulate": 2}),
        "simclr+essl, flips": _recipe(
            "simclr", "essl", {"transformations": "vertical_flip", "relu_before_output": False}
        ),
        "simclr+equimod, other view": _recipe("simclr", "equimod", {"source": "other_view", "both_directions": True}),
        "simclr+augself, both directions": _recipe("simclr", "augself", {"both_directions": True}),
        "vicreg+sie, whole": _recipe(
            "vicreg", "sie", {"moments_of": "whole"}, head={"variance_weight": 0, "covariance_weight": 0}
        ),
        "vicreg+sie, photographs": _recipe("vicreg", "sie", data="photographs", augmentation=_PAIRS),
        "simclr+augself, photographs": _recipe("simclr", "augself", data="photographs", augmentation=_PAIRS),
        "simclr+equimod, photographs": _recipe(
            "simclr", "equimod", {"source": "other_view"}, data="photographs", augmentation=_PAIRS
        ),
        "simclr+gradient, spirographs": _recipe(
            "simclr", "gradient", data="spirographs", augmentation=_SPIROGRAPHS, backbone={"image_size": 32}
        ),
    }
    return found


def whole_runs() -> dict[str, RunRecipe]:
    """The recipes that are pinned as whole runs, by readable names."""
    return {
        "dino+clever, skip": pinned_recipes()["dino+clever, skip"],
        "interclr+none": _recipe("interclr", "none"),
    }


def _recipe(
    baseline: str,
    add_on: str,
    settings: dict[str, Any] | None = None,
    *,
    data: str = "colours",
    **replaced: dict[str, Any],
) -> RunRecipe:
    local = 2 if baseline in _ACCEPT_LOCAL_VIEWS else 0
    views = {"name": "caug_plus", "global_size": SIDE, "local_size": 8, "local_views": local}
    tiny = tiny_method(baseline, add_on)
    if baseline in _BASELINES:
        tiny["baseline"] = {"name": baseline} | _TINY.get(baseline, _TINY_PROJECTOR)
    # Gradient descent is smooth: on another processor, differences in the last bits of a step stay small. Adam would
    # divide by such differences.
    steps = {"optimiser": "sgd", "epochs": 2, "batch_size": 8, "warmup_epochs": 0, "learning_rate": 0.02}
    return RunRecipe.model_validate(
        {
            "data": data,
            "backbone_name": "tiny",
            "backbone": {"name": "resnet10t_half", "image_size": SIDE} | replaced.get("backbone", {}),
            "method_name": "tiny",
            "method": {
                "baseline": tiny["baseline"] | replaced.get("head", {}),
                "equivariance": tiny["equivariance"] | (settings or {}),
            },
            "augmentation_name": "tiny",
            "augmentation": replaced.get("augmentation", views),
            "optimisation": steps | replaced.get("optimisation", {}),
            "seed": 0,
        }
    )


PINNED_EVALUATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "linear": ("linear", "colours", {"epochs": 3, "training_views": 1, "learning_rate": 0.1, "standardise": True}),
    "linear, fresh": ("linear", "colours", {"epochs": 2, "training_views": "fresh", "learning_rate": 0.1}),
    "knn": ("knn", "colours", {"neighbours": [3, 10]}),
    "parameters": ("parameters", "colours", {"augmentation": {"global_size": SIDE}}),
    "latents": ("latents", "photographs", {}),
    "relative_rotation": ("relative_rotation", "photographs", {"epochs": 2, "hidden_dim": 8}),
    "relative_colour": ("relative_colour", "photographs", {"epochs": 2, "head": "linear"}),
    "retrieval": ("retrieval", "photographs", {"hits": [1, 10]}),
}
"""Protocol, store and options of every pinned evaluation, by readable names."""
