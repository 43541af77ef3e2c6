"""VISReg's loss against lightly's and against a float64 form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightly.loss import VISRegLoss
from scipy import stats
from torch import Tensor

from clever.baselines import HeadOutput
from clever.baselines.options.visreg import VisregOptions
from clever.baselines.visreg import Visreg

STOPS_GRADIENTS = {"visreg": "the deviation that scales the shape term"}

ROWS, WIDTH, DIRECTIONS = 12, 5, 7
WEIGHTS = {"scale_weight": 0.5, "shape_weight": 2.0, "centre_weight": 3.0}


def mine(t: list[Tensor]) -> Tensor:
    options = {"hidden_dim": 12, "out_dim": WIDTH, "directions": DIRECTIONS, "regulariser_share": 0.6, **WEIGHTS}
    baseline = Visreg(VisregOptions.model_validate(options))
    torch.manual_seed(1)
    outputs = [HeadOutput(view) for view in t]
    return baseline.attract(outputs, outputs)


def by_columns(views: list[Tensor]) -> Tensor:
    torch.manual_seed(1)
    directions = torch.randn(WIDTH, DIRECTIONS).double()
    quantiles = torch.from_numpy(stats.norm.ppf([(i + 1) / (ROWS + 1) for i in range(ROWS)]))
    scale = shape = centre = torch.zeros((), dtype=torch.float64)
    for view in views:
        deviations = []
        for column in view.T:
            deviation = (column - column.mean()).square().mean().sqrt()
            deviations.append(deviation)
            scale = scale + (1 - deviation).square() / (WIDTH * len(views))
            centre = centre + column.mean().square() / (WIDTH * len(views))
        standard = (view - view.mean(0)) / (torch.stack(deviations).detach() + 1e-4)
        for direction in directions.T:
            values = (standard @ direction / direction.norm()).sort().values
            shape = shape + (values - quantiles).square().mean() / (DIRECTIONS * len(views))
    middle = (views[0] + views[1]) / 2
    invariance = torch.stack([(view - middle).square().mean() for view in views]).mean()
    return 0.4 * invariance + 0.6 * (0.5 * scale + 2.0 * shape + 3.0 * centre)


@pytest.mark.parametrize("count", [2, 4])
def test_loss_and_gradient(count: int, draw: Any, agree: Any) -> None:
    agree(mine, by_columns, draw(count, ROWS, WIDTH))


def test_with_the_same_directions_the_loss_equals_lightly(draw: Any) -> None:
    views = torch.stack([tensor.float() for tensor in draw(4, ROWS, WIDTH)])
    weights = {"lambda_scale": 0.5, "lambda_shape": 2.0, "lambda_center": 3.0}
    lightly = VISRegLoss(lambda_param=0.6, num_slices=DIRECTIONS, **weights)
    torch.manual_seed(1)
    expected = lightly(local_proj=views[2:], global_proj=views[:2])
    torch.testing.assert_close(mine(list(views)), expected)
