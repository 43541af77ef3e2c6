"""Training steps on the pretended GPU: every baseline with every add-on, on a ResNet and on a transformer."""

from __future__ import annotations

from typing import Any

import pytest

from clever.baselines import BASELINES
from clever.data import Store
from clever.equivariance import EQUIVARIANCES
from clever.pretraining.recipe import RunRecipe

from ..tiny_methods import PAIRS, tiny_method
from .rehearsal import rehearse
from .test_studies import runs

IN_THE_MATRIX = {
    (recipe.method.baseline.name, recipe.method.equivariance.name)
    for recipe in runs("matrix_cpu").values()
    if recipe.method is not None
}
"""The pairs that test_studies.py already rehearses on the same ResNet."""

RESNET = {"name": "resnet10t_half", "image_size": 16}
SMALL_STEPS = {"optimiser": "sgd", "learning_rate": 1e-4}
"""AdamW's first step follows the sign of the gradient, so if a gradient is near 0, rounding can move a weight by the
whole learning rate. BatchNorm over a few images then changes the second step's gradient norm by several percent."""
VIT = {"name": "test_vit", "image_size": 16, "patch_size": 8}


def recipe_of(make_recipe: Any, baseline: str, add_on: str, **blocks: Any) -> RunRecipe:
    """A run with small heads; the blocks are the same as in ``make_recipe``."""
    augmentation = {"name": "caug_plus", "local_views": 0} | blocks.pop("augmentation", {})
    whole = make_recipe(augmentation=augmentation, **{"backbone": RESNET} | blocks).model_dump()
    return RunRecipe.model_validate(whole | {"method": tiny_method(baseline, add_on)})


@pytest.mark.parametrize(("baseline", "add_on"), [pair for pair in PAIRS if pair not in IN_THE_MATRIX])
def test_every_further_pair_on_a_resnet(baseline: str, add_on: str, make_recipe: Any, digits_store: Store) -> None:
    recipe = recipe_of(make_recipe, baseline, add_on, optimisation=SMALL_STEPS)
    assert rehearse(recipe, digits_store)["loss_contrast"]


@pytest.mark.parametrize("baseline", BASELINES)
def test_every_baseline_on_a_transformer_in_bf16(baseline: str, make_recipe: Any, digits_store: Store) -> None:
    recipe = recipe_of(make_recipe, baseline, "clever", backbone=VIT, optimisation={"precision": "bf16"})
    assert rehearse(recipe, digits_store)["loss_contrast"]


@pytest.mark.parametrize("add_on", EQUIVARIANCES)
def test_every_add_on_on_a_transformer_in_bf16(add_on: str, make_recipe: Any, digits_store: Store) -> None:
    recipe = recipe_of(make_recipe, "simclr", add_on, backbone=VIT, optimisation={"precision": "bf16"})
    assert rehearse(recipe, digits_store)["loss_contrast"]


OPTIONS: dict[str, dict[str, Any]] = {
    "lars": {"optimiser": "lars", "learning_rate": 0.1},
    "lars, clipped trust": {"optimiser": "lars", "learning_rate": 0.1, "clip_trust": True, "trust_coefficient": 0.02},
    "sgd": {"optimiser": "sgd"},
    "no clipping": {"clip_gradient": None},
    "tight clipping": {"clip_gradient": 0.01},
    "skip": {"non_finite": "skip"},
    "skip with sgd": {"non_finite": "skip", "optimiser": "sgd"},
    "skip with lars": {"non_finite": "skip", "optimiser": "lars"},
    "two parts": {"accumulate": 2},
    "recomputed activations": {"checkpoint_activations": True},
    "a teacher's drop path": {"teacher_drop_path": 0.2},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_optimiser(name: str, make_recipe: Any, digits_store: Store) -> None:
    # Without BatchNorm, which would magnify the smallest differences between the two parts of a batch.
    recipe = recipe_of(make_recipe, "dino", "clever", backbone=VIT, optimisation=OPTIONS[name])
    assert rehearse(recipe, digits_store)["loss"]


BACKBONES: dict[str, dict[str, Any]] = {
    "resnet18": {"image_size": 16},
    "vit_tiny": {"image_size": 16, "patch_size": 8, "drop_path": 0.1},
    "vit_micro": {"image_size": 16, "patch_size": 8},
    "pixels": {"image_size": 16},
    "convnext_atto": {"image_size": 32},
}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone(name: str, make_recipe: Any, digits_store: Store) -> None:
    settings = {"name": name} | BACKBONES[name]
    views = {"global_size": settings["image_size"]}
    optimisation = {"batch_size": 4, "epochs": 1}
    recipe = recipe_of(make_recipe, "dino", "clever", backbone=settings, augmentation=views, optimisation=optimisation)
    assert rehearse(recipe, digits_store)["loss"]


def test_vmamba(make_recipe: Any, digits_store: Store) -> None:
    settings = {"name": "vmamba_tiny", "image_size": 32}
    optimisation = {"precision": "bf16", "batch_size": 2, "epochs": 1}
    recipe = recipe_of(
        make_recipe,
        "dino",
        "none",
        backbone=settings,
        augmentation={"name": "baug", "global_size": 32},
        optimisation=optimisation,
    )
    assert rehearse(recipe, digits_store)["loss"]


@pytest.mark.parametrize("placement", ["device", "host", "stream"])
def test_local_views_from_every_placement(placement: str, make_recipe: Any, digits_store: Store) -> None:
    recipe = recipe_of(make_recipe, "dino", "clever", augmentation={"name": "caug", "local_views": 2})
    assert rehearse(recipe, digits_store, placement)["loss"]


VIEWS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "spirograph": ("spirographs", "gradient", {"name": "spirograph"}),
    "spirograph parameters": ("spirographs", "sie", {"name": "spirograph"}),
    "pairs": ("photographs", "sie", {"name": "pairs", "global_size": 16}),
    "pairs with colour": (
        "photographs",
        "augself",
        {"name": "pairs", "global_size": 8, "relative": "rotation_and_colour"},
    ),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_that_are_not_augmentations(name: str, make_recipe: Any, request: pytest.FixtureRequest) -> None:
    store, add_on, augmentation = VIEWS[name]
    size = 32 if store == "spirographs" else 16
    whole = recipe_of(make_recipe, "simclr", add_on, optimisation={"batch_size": 4}).model_dump()
    recipe = RunRecipe.model_validate(
        whole
        | {"augmentation": augmentation, "backbone": RESNET | {"image_size": augmentation.get("global_size", size)}}
    )
    assert rehearse(recipe, request.getfixturevalue(store))["loss"]
