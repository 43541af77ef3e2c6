"""MV-InfoNCE: both denominators, for two views and more."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from clever.baselines import HeadOutput
from clever.baselines.mv_infonce import MvInfonce
from clever.baselines.options.mv_infonce import Denominator, MvInfonceOptions


def loss(tensors: list[Tensor], **settings: Any) -> Tensor:
    return MvInfonce(MvInfonceOptions(**settings)).attract([HeadOutput(tensor) for tensor in tensors], [])


def reference(tensors: list[Tensor], temperature: float, denominator: Denominator) -> Tensor:
    u = [[row / row.norm() for row in view] for view in tensors]
    views, rows = range(len(u)), range(len(u[0]))
    total = torch.zeros((), dtype=torch.float64)
    for i in rows:
        above = torch.zeros((), dtype=torch.float64)
        below = torch.zeros((), dtype=torch.float64)
        for a in views:
            for b in views:
                if a != b:
                    above = above + torch.exp(u[a][i] @ u[b][i] / temperature)
                for j in rows:
                    if (b != a) if denominator == "other_views" else ((b, j) != (a, i)):
                        below = below + torch.exp(u[a][i] @ u[b][j] / temperature)
        total = total - torch.log(above / below) / len(rows)
    return total


@pytest.mark.parametrize("views", [2, 3, 5])
@pytest.mark.parametrize("denominator", ["everything", "other_views"])
def test_loss_and_gradient(views: int, denominator: Denominator, draw: Any, agree: Any) -> None:
    agree(
        lambda t: loss(t, temperature=0.3, denominator=denominator),
        lambda t: reference(t, 0.3, denominator),
        draw(views, 4, 5),
    )


@pytest.mark.parametrize("views", [2, 4])
@pytest.mark.parametrize("denominator", ["everything", "other_views"])
def test_loss_of_orthogonal_images_in_closed_form(views: int, denominator: Denominator, unit_axes: Any) -> None:
    """The numerator has V (V - 1) positives with cosine 1; the denominator also has the negatives with cosine 0."""
    rows, positives = 6, views * (views - 1)
    others = positives * (rows - 1) + (views * (rows - 1) if denominator == "everything" else 0)
    expected = math.log((positives * math.exp(2) + others) / (positives * math.exp(2)))
    built = MvInfonce(MvInfonceOptions(temperature=0.5, denominator=denominator))
    assert built.attract(unit_axes(views, rows), []).item() == pytest.approx(expected, rel=1e-6)


def test_the_order_of_the_views_does_not_matter(draw: Any) -> None:
    tensors = [tensor.float() for tensor in draw(4, 5, 6)]
    torch.testing.assert_close(loss(tensors), loss(tensors[::-1]))


def test_similarity_is_the_mean_over_pairs_of_absolute_mean_cosines(draw: Any, agree: Any) -> None:
    def expected(t: list[Tensor]) -> Tensor:
        pairs = [(a, b) for a in range(len(t)) for b in range(a)]
        return torch.stack([torch.cosine_similarity(t[a], t[b]).mean().abs() for a, b in pairs]).mean()

    built = MvInfonce(MvInfonceOptions())
    first, second, third = draw(3, 5, 6)
    agree(lambda t: built.similarity([HeadOutput(v) for v in t], []), expected, [first, second, -third])
