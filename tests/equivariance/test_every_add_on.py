"""Every weight of every add-on scales one term: the loss is compared for two values of each weight."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clever.data import Batches, Store
from clever.equivariance import EQUIVARIANCES
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer

from ..tiny_methods import tiny_method

WEIGHTS = [
    (add_on, option)
    for add_on, entry in EQUIVARIANCES.items()
    for option in entry.options.model_fields
    if option.endswith("_weight")
]


@pytest.mark.parametrize(("add_on", "option"), WEIGHTS)
def test_the_loss_grows_with_a_weight_by_the_value_of_one_term(
    add_on: str, option: str, make_recipe: Any, colourful_store: Store
) -> None:
    whole = make_recipe(augmentation={"local_views": 0}, optimisation={"batch_size": 8}).model_dump()
    batch = next(iter(Batches(colourful_store.split("train"), 8, seed=0, device="cpu").epoch(0)))

    def losses(weight: float) -> dict[str, float]:
        method = tiny_method("simclr", add_on)
        method["equivariance"] |= {option: weight}
        recipe = RunRecipe.model_validate(whole | {"method": method})
        trainer = Trainer(recipe, colourful_store.mean, colourful_store.std, 2, torch.device("cpu"))
        return {name: value.item() for name, value in trainer.compute_gradients(batch, 0).items()}

    low, high = losses(0.25), losses(0.75)
    assert {name: high[name] for name in high if name != "loss"} == {name: low[name] for name in low if name != "loss"}
    growth = (high["loss"] - low["loss"]) / 0.5
    weighed = [name for name, value in low.items() if value == pytest.approx(growth, rel=1e-3, abs=1e-4)]
    assert weighed, (growth, low)
    assert "loss_contrast" not in weighed
