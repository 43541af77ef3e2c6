"""Methods that keep a state or draw numbers in their losses: a resumed run continues with the same bits."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch

from clever.baselines import BASELINES
from clever.data import Batches, Store
from clever.equivariance import EQUIVARIANCES
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer

from ..tiny_methods import PAIRS, tiny_method

STEPS_PER_EPOCH = 2
FITTING = [pair for pair in zip(BASELINES, itertools.cycle(reversed(EQUIVARIANCES)), strict=False) if pair in PAIRS]
"""Each baseline with one add-on, except for incompatible pairs."""


@pytest.mark.parametrize(("baseline", "add_on"), FITTING)
def test_a_resumed_run_has_the_same_bits(baseline: str, add_on: str, make_recipe: Any, colourful_store: Store) -> None:
    whole = make_recipe(augmentation={"local_views": 0}, optimisation={"batch_size": 8}).model_dump()
    recipe = RunRecipe.model_validate(whole | {"method": tiny_method(baseline, add_on)})
    batches = list(Batches(colourful_store.split("train"), 8, seed=0, device="cpu").epoch(0))

    def fresh() -> Trainer:
        data, images = (colourful_store.mean, colourful_store.std), len(colourful_store.split("train"))
        return Trainer(recipe, *data, STEPS_PER_EPOCH, torch.device("cpu"), training_images=images)

    def train(trainer: Trainer, steps: range) -> list[dict[str, float]]:
        found = []
        for iteration in steps:
            trainer.objective.start_epoch(iteration // STEPS_PER_EPOCH)
            values = trainer.step(batches[iteration % len(batches)], iteration)
            found.append({name: value.item() for name, value in values.items()})
        return found

    unbroken = fresh()
    expected = train(unbroken, range(4))
    first = fresh()
    found = train(first, range(2))
    state = copy.deepcopy(first.state_dict())
    torch.manual_seed(123)  # nothing may depend on the generator's state between steps
    second = fresh()
    second.load_state_dict(state)
    found += train(second, range(2, 4))
    assert found == expected
    bits = second.state_dict()
    for name, module in unbroken.state_dict().items():
        if name in ("student", "teacher", "objective"):
            assert all(torch.equal(value, bits[name][key]) for key, value in module.items()), name
