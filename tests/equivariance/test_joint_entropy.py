"""SepCLR's joint-entropy term against a float64 form; it falls as IR and EF become independent."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clever.baselines import HeadOutput
from clever.equivariance import Encoded
from clever.equivariance.ddcl import mean_log_density
from clever.pretraining.composition import build_objective
from clever.pretraining.recipe import MethodOptions
from clever.randomness import make_generator, seeded

from .encodings import terms_of

ROWS, WIDTH, IR = 6, 8, 5


def by_pairs(views: list[Tensor], temperature: float) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for view in views:
        parts = [part / part.norm(dim=1, keepdim=True) for part in (view[:, :IR], view[:, IR:])]
        for i in range(ROWS):
            density = torch.zeros((), dtype=torch.float64)
            for j in range(ROWS):
                distance = sum((part[i] - part[j]).square().sum() for part in parts)
                density = density + torch.exp(torch.as_tensor(-distance / (2 * temperature))) / ROWS
            total = total + density.log() / (ROWS * len(views))
    return total


@pytest.mark.parametrize("add_on", ["ddcl", "clever"])
def test_value_and_gradient(add_on: str) -> None:
    added = {"name": add_on, "separation_ratio": 0.7, "joint_entropy_weight": 3.0, "joint_entropy_temperature": 0.4}
    method = {"baseline": {"name": "simclr", "hidden_dim": 8, "out_dim": 4}, "equivariance": added}
    with seeded(0):
        objective = build_objective(MethodOptions.model_validate(method), WIDTH)
        heads = objective.make_heads()
    draw = make_generator(0, "features")
    views = [torch.randn(ROWS, WIDTH, generator=draw).requires_grad_() for _ in range(2)]
    outputs: dict[str, list[HeadOutput]] = {
        part: [heads[part](view[:, columns]) for view in views] for part, columns in objective.parts.items()
    }
    term = terms_of(objective, Encoded(views, outputs, heads))["joint_entropy"]
    assert term.weight == 3.0
    doubles = [view.detach().double().requires_grad_() for view in views]
    expected = by_pairs(doubles, 0.4)
    torch.testing.assert_close(term.value.double(), expected, rtol=1e-5, atol=1e-7)
    mine, theirs = torch.autograd.grad(term.value, views), torch.autograd.grad(expected, doubles)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-6)


def test_independent_parts_have_a_smaller_term() -> None:
    draw = torch.Generator().manual_seed(0)
    first, second = (torch.nn.functional.normalize(torch.randn(400, 3, generator=draw), dim=1) for _ in range(2))
    assert mean_log_density(first, second, 0.1) < mean_log_density(first, first, 0.1) - 0.5
