"""At ImageNet size and random initialisation, the terms equal the results of the authors' loss class."""

from __future__ import annotations

import pytest
import torch

from clever.pretraining.composition import compose
from clever.pretraining.recipe import RunRecipe


def paper_recipe(seed: int) -> RunRecipe:
    """ViT-Tiny with all options at their defaults, which are the paper's."""
    return RunRecipe.model_validate(
        {
            "data": "noise",
            "backbone_name": "vit_tiny",
            "backbone": {"name": "vit_tiny", "image_size": 224},
            "method_name": "dino+clever",
            "method": {"baseline": {"name": "dino"}, "equivariance": {"name": "clever"}},
            "augmentation_name": "caug",
            "augmentation": {"name": "caug"},
            "optimisation": {},
            "seed": seed,
        }
    )


def test_terms_of_vit_tiny_on_noise() -> None:
    """The authors' loss class: contrast 10.47, orthogonality 0.607, weighted head norm 0.093."""
    composition = compose(paper_recipe(seed=0))
    draw = torch.Generator().manual_seed(0)
    views = [torch.randn(4, 3, size, size, generator=draw) for size in (224, 224, *[96] * 8)]
    assert composition.teacher is not None
    with torch.no_grad():
        student, teacher = composition.student(views), composition.teacher(views[:2])
        terms = composition.objective.terms(composition.objective.batch(student, teacher))
    assert [view.projection.shape for view in student.outputs["EF"]] == [(4, 65536)] * 10
    assert 10.4 < terms["contrast"].value.item() < 10.6
    assert terms["contrast"].weight == 1.0
    assert 0.45 < terms["orthogonality"].value.item() < 0.65
    assert terms["orthogonality"].weight == 1.0
    assert terms["head_norm"].weight == 0.001
    assert terms["head_norm"].weight * terms["head_norm"].value.item() == pytest.approx(0.085, abs=0.015)
