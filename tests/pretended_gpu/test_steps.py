"""Steps of training on the pretended GPU: every baseline with every add-on, on a ResNet and on a transformer."""

from __future__ import annotations

from typing import Any

import pytest

from clever.baselines import BASELINES
from clever.data import Store
from clever.equivariance import EQUIVARIANCES
from clever.pretraining.recipe import RunRecipe

from .rehearsal import rehearse

BASELINE: dict[str, dict[str, Any]] = {
    "dino": {"out_dim": 16, "hidden_dim": 12, "bottleneck_dim": 8},
    "simsiam": {"hidden_dim": 12, "out_dim": 12, "predictor_dim": 6},
    "swav": {"hidden_dim": 12, "out_dim": 8, "prototypes": 6},
    "nnclr": {"hidden_dim": 12, "out_dim": 8, "queue_length": 64},
}
"""Small heads; one that is not named is a projector."""

ADD_ON: dict[str, dict[str, Any]] = {
    "gradient": {"draws": 3},
    "essl": {"crop_size": 8, "hidden_dims": (12,)},
    "augself": {"hidden_dim": 12},
    "equimod": {"hidden_dim": 12, "out_dim": 8, "parameter_dim": 8},
    "sie": {"hidden_dim": 24, "out_dim": 24},
}

RESNET = {"name": "resnet10t_half", "image_size": 16}
VIT = {"name": "test_vit", "image_size": 16, "patch_size": 8}


def recipe_of(make_recipe: Any, baseline: str, add_on: str, **blocks: Any) -> RunRecipe:
    """A run with small heads; the blocks are those of ``make_recipe``."""
    augmentation = {"name": "caug_plus", "local_views": 0} | blocks.pop("augmentation", {})
    whole = make_recipe(augmentation=augmentation, **{"backbone": RESNET} | blocks).model_dump()
    head = {"name": baseline} | BASELINE.get(baseline, {"hidden_dim": 12, "out_dim": 8})
    method = {"baseline": head, "equivariance": {"name": add_on} | ADD_ON.get(add_on, {})}
    return RunRecipe.model_validate(whole | {"method": method})


@pytest.mark.parametrize("add_on", EQUIVARIANCES)
@pytest.mark.parametrize("baseline", BASELINES)
def test_every_baseline_with_every_add_on_on_a_resnet(
    baseline: str, add_on: str, make_recipe: Any, digits_store: Store
) -> None:
    assert rehearse(recipe_of(make_recipe, baseline, add_on), digits_store)["loss_contrast"]


@pytest.mark.parametrize("baseline", BASELINES)
def test_every_baseline_on_a_transformer_in_bf16(baseline: str, make_recipe: Any, digits_store: Store) -> None:
    recipe = recipe_of(make_recipe, baseline, "clever", backbone=VIT, optimisation={"precision": "bf16"})
    assert rehearse(recipe, digits_store)["loss_contrast"]


@pytest.mark.parametrize("add_on", EQUIVARIANCES)
def test_every_add_on_on_a_transformer_in_bf16(add_on: str, make_recipe: Any, digits_store: Store) -> None:
    recipe = recipe_of(make_recipe, "simclr", add_on, backbone=VIT, optimisation={"precision": "bf16"})
    assert rehearse(recipe, digits_store)["loss_contrast"]
