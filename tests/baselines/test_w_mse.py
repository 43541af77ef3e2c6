"""W-MSE's loss against a float64 form with an explicit inverse, and against lightly's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightly.loss import WMSELoss
from torch import Tensor

from clever.baselines import HeadOutput
from clever.baselines.options.w_mse import WMseOptions
from clever.baselines.w_mse import WMse, whiten, whitened_distance
from clever.errors import UserError

TINY = {"whitening_size": 2, "whitening_shrinkage": 0.2}
JOINED = {"whitening_size": 8}

ROWS, WIDTH, SIZE = 24, 4, 12


def w_mse(**settings: Any) -> WMse:
    options = {"hidden_dim": 12, "out_dim": WIDTH, "whitening_size": SIZE, **settings}
    return WMse(WMseOptions.model_validate(options))


def by_groups(views: list[Tensor], iterations: int, groups: int, shrinkage: float) -> Tensor:
    """Loop over every partition, group and pair of views, with the factor's inverse written out."""
    torch.manual_seed(7)
    numbers = torch.rand(iterations, ROWS + WIDTH)
    total, terms = torch.zeros((), dtype=torch.float64), 0
    for drawn in numbers:
        images, columns = drawn[:ROWS].argsort(), drawn[ROWS:].argsort()
        whitened = []
        for view in views:
            done = torch.zeros(ROWS, WIDTH, dtype=torch.float64)
            for rows in images.split(SIZE):
                for part in columns.split(WIDTH // groups):
                    x = view[rows][:, part]
                    x = x - x.mean(0)
                    c = (1 - shrinkage) * x.T @ x / (SIZE - 1) + shrinkage * torch.eye(len(part), dtype=torch.float64)
                    done = done.index_put((rows[:, None], part), x @ torch.linalg.cholesky(c).inverse().T)
            whitened.append(done / done.norm(dim=1, keepdim=True))
        for one in range(len(views)):
            for other in range(one):
                total = total + (2 - 2 * (whitened[one] * whitened[other]).sum(1)).mean()
                terms += 1
    return total / terms


@pytest.mark.parametrize(("count", "iterations", "groups", "shrinkage"), [(2, 1, 1, 0.0), (3, 2, 2, 0.1)])
def test_loss_and_gradient(count: int, iterations: int, groups: int, shrinkage: float, draw: Any, agree: Any) -> None:
    settings = {"whitening_iterations": iterations, "channel_groups": groups, "whitening_shrinkage": shrinkage}
    baseline = w_mse(**settings)

    def mine(t: list[Tensor]) -> Tensor:
        torch.manual_seed(7)
        outputs = [HeadOutput(view) for view in t]
        return baseline.attract(outputs, outputs)

    agree(mine, lambda t: by_groups(t, iterations, groups, shrinkage), draw(count, ROWS, WIDTH))


def test_one_group_equals_lightly(draw: Any) -> None:
    first, second = (tensor.float() for tensor in draw(2, ROWS, WIDTH))
    lightly = WMSELoss(embedding_dim=WIDTH, w_size=ROWS, num_samples=2)
    mine = whitened_distance(torch.stack([first, second]), ROWS)
    torch.testing.assert_close(mine, lightly(torch.cat([first, second])))


def test_whitened_rows_have_mean_zero_and_unit_covariance(draw: Any) -> None:
    (rows,) = draw(1, ROWS, WIDTH)
    found = whiten(rows)
    torch.testing.assert_close(found.mean(0), torch.zeros(WIDTH, dtype=torch.float64))
    torch.testing.assert_close(found.T @ found / (ROWS - 1), torch.eye(WIDTH, dtype=torch.float64))


def test_a_singular_covariance_gives_nan_and_shrinkage_helps() -> None:
    rows = torch.randn(SIZE, WIDTH, generator=torch.Generator().manual_seed(0))
    rows[:, 1] = 0.0
    assert whiten(rows).isnan().all()
    assert whiten(rows, 0.1).isfinite().all()


def test_batches_and_widths_that_do_not_fit_are_rejected(draw: Any) -> None:
    views = [HeadOutput(tensor.float()) for tensor in draw(2, 18, WIDTH)]
    with pytest.raises(UserError, match="groups of 12 images, and 18 images are not a multiple"):
        w_mse().attract(views, views)
    with pytest.raises(ValueError, match="whitening_size 4 must exceed the 4 columns"):
        w_mse(whitening_size=4)
    with pytest.raises(ValueError, match="out_dim 4 is not a multiple of channel_groups 3"):
        w_mse(channel_groups=3)
