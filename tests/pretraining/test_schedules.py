"""Schedules against the arrays that the authors build with numpy before training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from clever.data import Store
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.schedules import warmup_cosine
from clever.pretraining.trainer import Trainer


def authors(base: float, final: float, epochs: int, steps: int, warmup_epochs: float = 0) -> NDArray[np.float64]:
    """The authors' cosine_scheduler, one number per iteration (their utils.py:206-217)."""
    warmup = int(warmup_epochs * steps)
    rising = np.linspace(0, base, warmup)
    place = np.arange(epochs * steps - warmup)
    falling = final + 0.5 * (base - final) * (1 + np.cos(np.pi * place / len(place)))
    return np.concatenate([rising, falling])


@pytest.mark.parametrize(
    ("base", "final", "epochs", "steps", "warmup"),
    [
        (0.001, 1e-6, 20, 7, 10),
        (0.04, 0.4, 5, 3, 0),
        (0.996, 1.0, 5, 3, 0),
        (1.0, 0.0, 4, 5, 1),
        (0.5, 0.1, 2, 4, 2),
        (1.0, 0.5, 3, 1, 1),
    ],
)
def test_warmup_cosine_equals_the_authors(base: float, final: float, epochs: int, steps: int, warmup: int) -> None:
    total = epochs * steps
    got = [warmup_cosine(i, peak=base, final=final, total=total, warmup=warmup * steps) for i in range(total)]
    np.testing.assert_allclose(got, authors(base, final, epochs, steps, warmup), rtol=1e-12, atol=1e-18)


def test_landmarks() -> None:
    def value(iteration: int) -> float:
        return warmup_cosine(iteration, peak=2.0, final=1.0, total=110, warmup=10)

    assert value(0) == 0
    assert value(9) == pytest.approx(2.0)
    assert value(10) == pytest.approx(2.0)
    assert value(60) == pytest.approx(1.5)
    assert value(109) == pytest.approx(1.0, abs=1e-3)
    assert all(value(i) > value(i + 1) for i in range(10, 109))


def test_the_trainer_scales_the_rate_with_the_batch_and_follows_every_schedule(
    make_recipe, digits_store: Store
) -> None:
    settings = {
        "epochs": 4,
        "batch_size": 32,
        "warmup_epochs": 1.5,
        "learning_rate": 0.002,
        "final_learning_rate": 1e-5,
        "weight_decay": 0.03,
        "final_weight_decay": 0.3,
    }
    recipe: RunRecipe = make_recipe(optimisation=settings, baseline={"momentum": 0.99})
    trainer = Trainer(recipe, digits_store.mean, digits_store.std, 6, torch.device("cpu"))
    got = [trainer.schedule(iteration) for iteration in range(24)]
    rates = authors(0.002 * 32 / 256, 1e-5, 4, 6, 1.5)
    np.testing.assert_allclose([now.learning_rate for now in got], rates, rtol=1e-12)
    constant = np.concatenate([rates[:9], np.full(15, 0.002 * 32 / 256)])  # after the warm-up, at its peak
    np.testing.assert_allclose([now.constant_rate for now in got], constant, rtol=1e-12)
    np.testing.assert_allclose([now.weight_decay for now in got], authors(0.03, 0.3, 4, 6), rtol=1e-12)
    np.testing.assert_allclose([now.momentum for now in got], authors(0.99, 1.0, 4, 6), rtol=1e-12)


def test_the_rate_of_ddcl_changes_once_per_epoch(make_recipe, digits_store: Store) -> None:
    """In DDCL's schedule, epoch e of w warm-up epochs uses e / w of the peak; a cosine over the other epochs
    follows."""
    steps, warmup, epochs = 7, 3, 8
    options = {"optimiser": "sgd", "epochs": epochs, "warmup_epochs": warmup, "rate_changes": "epoch"}
    recipe = make_recipe(optimisation={**options, "learning_rate": 0.05, "final_learning_rate": 0.0})
    assert recipe.optimisation is not None
    peak = 0.05 * recipe.optimisation.batch_size / 256
    trainer = Trainer(recipe, digits_store.mean, digits_store.std, steps, torch.device("cpu"))
    for epoch in range(epochs):
        expected = peak * epoch / warmup
        if epoch >= warmup:
            expected = peak * 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup)))
        for step in (0, 1, steps - 1):
            schedule = trainer.schedule(epoch * steps + step)
            assert schedule.learning_rate == pytest.approx(expected, rel=1e-12)
            assert schedule.constant_rate == pytest.approx(min(expected, peak) if epoch < warmup else peak)


def test_weight_decay_can_stay_constant(make_recipe, digits_store: Store) -> None:
    recipe = make_recipe(optimisation={"final_weight_decay": None, "weight_decay": 0.07})
    trainer = Trainer(recipe, digits_store.mean, digits_store.std, 6, torch.device("cpu"))
    assert {trainer.schedule(iteration).weight_decay for iteration in range(12)} == {0.07}
