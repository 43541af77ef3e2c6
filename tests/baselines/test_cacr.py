"""CACR's loss against a float64 form, image by image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from clever.baselines import HeadOutput
from clever.baselines.cacr import Cacr, attraction_and_repulsion
from clever.baselines.options.cacr import CacrOptions

ROWS, WIDTH = 5, 7


def by_images(views: list[Tensor], o: CacrOptions) -> Tensor:
    units = [view / view.norm(dim=1, keepdim=True) for view in views]
    attraction, repulsion = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    count = len(views)
    for v in range(count):
        for i in range(ROWS):
            to = torch.stack([(units[v][i] - units[m][i]).square().sum() for m in range(count) if m != v])
            weight = torch.exp(o.attraction_temperature * to)
            attraction = attraction + (weight * to).sum() / weight.sum() / (count * ROWS)
            for m in range(count):
                if m != v:
                    d = torch.stack([(units[v][i] - units[m][j]).square().sum() for j in range(ROWS) if j != i])
                    w = torch.exp(-o.repulsion_temperature * d)
                    repulsion = repulsion - (w * d).sum() / w.sum() / (count * (count - 1) * ROWS)
    return o.attraction_weight * attraction + o.repulsion_weight * repulsion


@pytest.mark.parametrize("count", [2, 4])
def test_loss_and_gradient(count: int, draw: Any, agree: Any) -> None:
    options = CacrOptions(
        hidden_dim=12, out_dim=WIDTH, attraction_temperature=1.5, repulsion_temperature=0.7, repulsion_weight=0.6
    )

    def mine(t: list[Tensor]) -> Tensor:
        outputs = [HeadOutput(view) for view in t]
        return Cacr(options).attract(outputs, outputs)

    agree(mine, lambda t: by_images(t, options), draw(count, ROWS, WIDTH))


def test_equal_weights_are_means(draw: Any) -> None:
    views = torch.nn.functional.normalize(torch.stack(draw(3, ROWS, WIDTH)), dim=2)
    attraction, repulsion = attraction_and_repulsion(views, 0.0, 0.0)
    squared = (
        torch.cdist(views.flatten(0, 1), views.flatten(0, 1)).square().unflatten(0, (3, ROWS)).unflatten(2, (3, ROWS))
    )
    others = [squared[v, i, m, i] for v in range(3) for m in range(3) for i in range(ROWS) if v != m]
    negatives = [
        squared[v, i, m, j]
        for v in range(3)
        for m in range(3)
        for i in range(ROWS)
        for j in range(ROWS)
        if v != m and i != j
    ]
    torch.testing.assert_close(attraction, torch.stack(others).mean())
    torch.testing.assert_close(repulsion, -torch.stack(negatives).mean())
