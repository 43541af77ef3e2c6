"""Trainers and batches of small trials: any baseline, add-on and backbone at 32 px, on synthetic images."""

from __future__ import annotations

from typing import Any

import torch

from clever.baselines import BASELINES
from clever.data import ImageBatch
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer

MEAN, STD = (0.491, 0.482, 0.447), (0.247, 0.244, 0.262)
SIDE = 32
NARROW: dict[str, dict[str, Any]] = {
    "dino": {"out_dim": 1024, "hidden_dim": 256, "bottleneck_dim": 64},
    "swav": {"prototypes": 128},
    "interclr": {"images_per_cluster": 4, "min_cluster": 1, "clustering_epoch": 0},
    "w_mse": {"out_dim": 4, "whitening_size": 8},
}
"""Options of baselines for few small images."""
SMALL: dict[str, dict[str, Any]] = {"care": {"images_per_chunk": 4}}
"""Options of add-ons for few small images."""


def trial_recipe(baseline: str, equivariance: str, backbone: str, images: int, precision: str = "fp32") -> RunRecipe:
    """A run with two global views with rotation (and two local ones for DINO), without drop path."""
    local = 2 if baseline == "dino" and equivariance in ("none", "ddcl", "clever") else 0
    return RunRecipe.model_validate(
        {
            "data": "trial",
            "backbone_name": "trial",
            "backbone": {"name": backbone, "image_size": SIDE},
            "method_name": f"{baseline}+{equivariance}",
            "method": {
                "baseline": {"name": baseline} | NARROW.get(baseline, {}),
                "equivariance": {"name": equivariance} | SMALL.get(equivariance, {}),
            },
            "augmentation_name": "caug",
            "augmentation": {"name": "caug", "global_size": SIDE, "local_size": 16, "local_views": local},
            "optimisation": {"batch_size": images, "epochs": 2, "warmup_epochs": 0, "precision": precision},
            "seed": 0,
        }
    )


def trial_images(count: int, device: torch.device) -> ImageBatch:
    """Smooth colours at 32 px, identical on every device."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (count, 3, 6, 6), generator=generator).float()
    pixels = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear").byte()
    rows = torch.arange(count)
    labels = (rows % 10).to(device)
    return ImageBatch(pixels.to(device), torch.full((count, 2), SIDE), labels, rows.to(device))


def trial_trainer(recipe: RunRecipe, device: torch.device) -> Trainer:
    """The trainer of a run with ten steps per epoch; its weights are the recipe's on every device."""
    assert recipe.optimisation is not None
    return Trainer(recipe, MEAN, STD, 10, device, training_images=recipe.optimisation.batch_size)


def pairs(per_baseline: int) -> list[tuple[str, str]]:
    """Pairs of baseline and add-on: every baseline with ``none`` first, then with the next add-on, and so on."""
    from clever.equivariance import EQUIVARIANCES

    first = ["none", "clever"]
    order = first + [name for name in EQUIVARIANCES if name not in first]

    def refused(baseline: str, add_on: str) -> bool:
        options = EQUIVARIANCES[add_on].options.model_validate({"name": add_on})
        return options.baseline_refusal(BASELINES[baseline].options.model_validate({"name": baseline})) is not None

    found = [(baseline, add_on) for add_on in order[:per_baseline] for baseline in BASELINES]
    return [pair for pair in found if not refused(*pair)]
