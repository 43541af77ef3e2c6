"""Fixtures shared by several folders: a tiny store of real digits, and a tiny run on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from clever.data import DataOptions, Store, prepare
from clever.pretraining.recipe import RunRecipe
from clever.randomness import make_generator
from clever.sealed import sealed

RecipeMaker = Callable[..., RunRecipe]
RunDescriber = Callable[..., dict[str, Any]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, so that no core is idle at the end."""
    items.sort(key=lambda item: next((n for n, name in enumerate(LONGEST) if name in item.nodeid), len(LONGEST)))


LONGEST = ("test_slurm.py", "workflow/test_run.py", "workflow/test_plan.py")


@pytest.fixture(scope="session")
def digits_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """96 training and 32 test images of scikit-learn's digits at 16 px."""
    options = DataOptions(source="digits", image_size=16, train_limit=96, test_limit=32)
    return prepare(options, tmp_path_factory.mktemp("stores") / "digits", progress=False)


@pytest.fixture(scope="session")
def make_recipe() -> RecipeMaker:
    """The recipe of a short run on ``digits_store``: 2 epochs of 6 steps; keyword arguments override single
    settings."""

    def make(
        *,
        equivariance: Mapping[str, Any] | str = "clever",
        baseline: Mapping[str, Any] | None = None,
        backbone: Mapping[str, Any] | None = None,
        augmentation: Mapping[str, Any] | None = None,
        optimisation: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> RunRecipe:
        added = {"name": equivariance} if isinstance(equivariance, str) else dict(equivariance)
        head = {"name": "dino", "out_dim": 64, "hidden_dim": 32, "bottleneck_dim": 16}
        views = {"name": "caug", "global_size": 16, "local_size": 8, "local_views": 2}
        steps = {"epochs": 2, "batch_size": 16, "warmup_epochs": 0, "learning_rate": 0.01}
        return RunRecipe.model_validate(
            {
                "data": "digits",
                "backbone_name": "tiny",
                "backbone": {"name": "resnet10t_half", "image_size": 16} | dict(backbone or {}),
                "method_name": "tiny",
                "method": {"baseline": head | dict(baseline or {}), "equivariance": added},
                "augmentation_name": "tiny",
                "augmentation": views | dict(augmentation or {}),
                "optimisation": steps | dict(optimisation or {}),
                "seed": seed,
            }
        )

    return make


@pytest.fixture(scope="session")
def colourful_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """24 training and 8 test images of coloured noise at 16 px, because colour jitter has little effect on grey
    digits."""
    folder = tmp_path_factory.mktemp("colourful")
    for split, count in (("train", 24), ("test", 8)):
        pixels = torch.randint(0, 256, (count, 16, 16, 3), generator=make_generator(0, split), dtype=torch.uint8)
        np.save(folder / f"{split}_images.npy", pixels.numpy())
        np.save(folder / f"{split}_labels.npy", np.arange(count) % 2)
    options = DataOptions(source="arrays", root=str(folder))
    return prepare(options, tmp_path_factory.mktemp("stores") / "colourful", progress=False)


@pytest.fixture(scope="session")
def describe_run() -> RunDescriber:
    """The content of a ``run.json`` that agrees with its recipe; keyword arguments override single keys."""

    def describe(recipe: RunRecipe, **changes: Any) -> dict[str, Any]:
        add_on = None if recipe.method is None else recipe.method.equivariance.model_dump()
        ratio = None if add_on is None else add_on.get("separation_ratio")
        content = {
            "format": 2,
            "run": recipe.run,
            "recipe": recipe.model_dump(mode="json"),
            "recipe_digest": recipe.digest,
            "data_checksum": "c1",
            "git_commit": "abc123",
            "backbone_sha256": "0" * 64,
            "feature_dim": 256,
            "ir_dim": None if ratio is None else int(256 * ratio),
        }
        return sealed(content | changes)

    return describe
