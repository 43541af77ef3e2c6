"""LeJEPA's loss against lightly's and against a float64 form with numerical integration."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightly.loss import LeJEPALoss
from torch import Tensor

from clever.baselines import HeadOutput
from clever.baselines.lejepa import Lejepa, epps_pulley
from clever.baselines.options.lejepa import LejepaOptions

ROWS, WIDTH, DIRECTIONS = 12, 5, 7


def lejepa() -> Lejepa:
    return Lejepa(LejepaOptions(hidden_dim=12, out_dim=WIDTH, directions=DIRECTIONS, regulariser_share=0.3))


def mine(t: list[Tensor]) -> Tensor:
    torch.manual_seed(1)
    outputs = [HeadOutput(view) for view in t]
    return lejepa().attract(outputs, outputs)


def by_frequencies(views: list[Tensor]) -> Tensor:
    torch.manual_seed(1)
    directions = torch.randn(WIDTH, DIRECTIONS).double()
    grid = torch.linspace(-3, 3, 33, dtype=torch.float64)
    total = torch.zeros((), dtype=torch.float64)
    for view in views:
        for direction in directions.T:
            values = view @ direction / direction.norm()
            found = torch.exp(1j * grid[:, None] * values).mean(1)
            error = (found - torch.exp(-grid.square() / 2)).abs().square() * torch.exp(-grid.square() / 2)
            total = total + ROWS * (error[1:] + error[:-1]).sum() / 2 * (grid[1] - grid[0])
    centre = (views[0] + views[1]) / 2
    invariance = torch.stack([(view - centre).square().mean() for view in views]).mean()
    return 0.3 * total / (len(views) * DIRECTIONS) + 0.7 * invariance


@pytest.mark.parametrize("count", [2, 4])
def test_loss_and_gradient(count: int, draw: Any, agree: Any) -> None:
    agree(mine, by_frequencies, draw(count, ROWS, WIDTH))


def test_with_the_same_directions_the_loss_equals_lightly(draw: Any) -> None:
    views = torch.stack([tensor.float() for tensor in draw(4, ROWS, WIDTH)])
    lightly = LeJEPALoss(lambda_param=0.3, sigreg_num_vectors=DIRECTIONS)
    torch.manual_seed(1)
    expected = lightly(local_proj=views[2:], global_proj=views[:2])
    torch.testing.assert_close(mine(list(views)), expected)


def test_gaussian_values_have_the_smallest_statistic() -> None:
    draw = torch.Generator().manual_seed(0)
    gaussian = torch.randn(1, 4000, 1, generator=draw)
    worse = [gaussian * 2, gaussian + 0.5, 3.4 * torch.rand(1, 4000, 1, generator=draw) - 1.7, gaussian * 0]
    least = epps_pulley(gaussian, 17, 3.0)
    assert least < 2
    assert all(epps_pulley(values, 17, 3.0) > 5 * least for values in worse)
