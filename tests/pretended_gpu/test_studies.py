"""One step of every run of two studies on the pretended GPU; only one-time set-up may wait."""

from __future__ import annotations

from pathlib import Path

import pytest

from clever.config import load_study
from clever.data import DataOptions, Store, prepare
from clever.gpu_check.trials import NARROW, SMALL
from clever.pretraining.recipe import MethodOptions, RunRecipe

from .rehearsal import rehearse

STUDIES = Path(__file__).parents[2] / "workflow" / "studies"

BATCH = {"matrix_cpu": 8, "cifar10": 2}
HEAD = {"matrix_cpu": {}, "cifar10": {"hidden_dim": 64, "out_dim": 64}}
"""Fewer images and narrower heads than in the study; these numbers do not affect what is rehearsed."""
GROUPS = {"w_mse": NARROW["w_mse"], "care": SMALL["care"]}
"""Group sizes that divide this small batch, for the baselines and add-ons that cut a batch into groups."""


def runs(study: str) -> dict[str, RunRecipe]:
    """The runs of the first seed, by name; controls are not trained."""
    recipes = load_study(STUDIES / f"{study}.yaml").recipes()
    return {run: recipe for run, recipe in recipes.items() if recipe.method is not None and recipe.seed == 0}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory, digits_store: Store) -> dict[str, Store]:
    options = DataOptions(source="digits", image_size=32, train_limit=16, test_limit=10)
    of_32_px = prepare(options, tmp_path_factory.mktemp("stores") / "digits32", progress=False)
    return {"matrix_cpu": digits_store, "cifar10": of_32_px}


CASES = [(study, run) for study in BATCH for run in runs(study)]


@pytest.mark.parametrize(("study", "run"), CASES, ids=[run for _, run in CASES])
def test_a_run_of_a_study(study: str, run: str, stores: dict[str, Store]) -> None:
    recipe = runs(study)[run]
    assert recipe.optimisation is not None
    assert recipe.method is not None
    baseline, add_on = recipe.method.baseline, recipe.method.equivariance
    smaller = {
        "optimisation": recipe.optimisation.model_copy(update={"batch_size": BATCH[study]}),
        "method": MethodOptions(
            baseline=baseline.model_copy(update=HEAD[study] | GROUPS.get(baseline.name, {})),
            equivariance=add_on.model_copy(update=GROUPS.get(add_on.name, {})),
        ),
    }
    assert rehearse(recipe.model_copy(update=smaller), stores[study])["loss_contrast"]
