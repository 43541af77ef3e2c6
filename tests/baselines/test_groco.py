"""GroCo's loss against a float64 form with permutation matrices, and its sorting network's limits."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from clever.baselines import HeadOutput
from clever.baselines.groco import Groco, soft_ranks
from clever.baselines.options.groco import GrocoOptions

STOPS_GRADIENTS = {"groco": "the other view"}

ROWS, WIDTH = 6, 5


def sorted_softly(values: Tensor, steepness: float) -> Tensor:
    """Sort one list; each exchange is a product with a matrix that mixes two rows."""
    length = len(values)
    total = torch.eye(length, dtype=torch.float64)
    for layer in range(length):
        mix = torch.eye(length, dtype=torch.float64)
        for one in range(layer % 2, length - 1, 2):
            stay = 0.5 + torch.atan(steepness * (values[one + 1] - values[one])) / math.pi
            block = torch.stack([torch.stack([stay, 1 - stay]), torch.stack([1 - stay, stay])])
            where = torch.tensor([one, one + 1])
            mix = mix.index_put((where[:, None], where), block)
        values, total = mix @ values, mix @ total
    return total.T  # rows: values, columns: ranks


def by_images(views: list[Tensor], hardest: int, steepness: float) -> Tensor:
    units = [view / view.norm(dim=1, keepdim=True) for view in views]
    total = torch.zeros((), dtype=torch.float64)
    positives = len(views) - 1
    for v, view in enumerate(units):
        for i in range(ROWS):
            near = sorted((view[i] @ view[j].detach() for j in range(ROWS) if j != i), key=lambda c: float(c.detach()))[
                -hardest:
            ]
            alike = sorted(
                (view[i] @ other[i].detach() for m, other in enumerate(units) if m != v),
                key=lambda c: float(c.detach()),
            )
            ranks = sorted_softly(torch.stack([*near, *alike]), steepness)
            low, high = ranks[:, : len(near)].sum(1), ranks[:, len(near) :].sum(1)
            wanted = torch.tensor([0.0] * len(near) + [1.0] * positives, dtype=torch.float64)
            of_high = -(wanted * high.log() + (1 - wanted) * (1 - high).log()).mean()
            of_low = -((1 - wanted) * low.log() + wanted * (1 - low).log()).mean()
            total = total + (of_high + of_low) / 2
    return total / (len(views) * ROWS)


@pytest.mark.parametrize(("count", "hardest", "steepness"), [(2, 3, 1.0), (3, 4, 2.0), (2, 10, 1.0)])
def test_loss_and_gradient(count: int, hardest: int, steepness: float, draw: Any, agree: Any) -> None:
    baseline = Groco(GrocoOptions(hidden_dim=12, out_dim=WIDTH, hardest=hardest, steepness=steepness))

    def mine(t: list[Tensor]) -> Tensor:
        outputs = [HeadOutput(view) for view in t]
        return baseline.attract(outputs, outputs)

    agree(mine, lambda t: by_images(t, hardest, steepness), draw(count, ROWS, WIDTH))


def test_steep_networks_sort() -> None:
    values = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    ranks = soft_ranks(values, 1e6)
    torch.testing.assert_close((values.unsqueeze(1) @ ranks).squeeze(1), values.sort(dim=1).values, rtol=0, atol=1e-3)
    gentle = soft_ranks(values, 1.0)
    torch.testing.assert_close(gentle.sum(1), torch.ones(4, 9))
    torch.testing.assert_close(gentle.sum(2), torch.ones(4, 9))
