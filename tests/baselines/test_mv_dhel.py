"""MV-DHEL: its loss for two views and more."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from clever.baselines import HeadOutput
from clever.baselines.mv_dhel import MvDhel
from clever.baselines.options.mv_dhel import MvDhelOptions
from clever.errors import UserError


def loss(tensors: list[Tensor], **settings: Any) -> Tensor:
    return MvDhel(MvDhelOptions(**settings)).attract([HeadOutput(tensor) for tensor in tensors], [])


def reference(tensors: list[Tensor], temperature: float) -> Tensor:
    u = [[row / row.norm() for row in view] for view in tensors]
    views, rows = range(len(u)), range(len(u[0]))
    total = torch.zeros((), dtype=torch.float64)
    for i in rows:
        above = torch.zeros((), dtype=torch.float64)
        below = torch.ones((), dtype=torch.float64)
        for a in views:
            for b in range(a):
                above = above + torch.exp(u[a][i] @ u[b][i] / temperature)
            below = below * torch.stack([torch.exp(u[a][i] @ u[a][j] / temperature) for j in rows if j != i]).sum()
        total = total - torch.log(above / below) / len(rows)
    return total


@pytest.mark.parametrize("views", [2, 3, 5])
@pytest.mark.parametrize("temperature", [0.2, 0.5])
def test_loss_and_gradient(views: int, temperature: float, draw: Any, agree: Any) -> None:
    agree(lambda t: loss(t, temperature=temperature), lambda t: reference(t, temperature), draw(views, 4, 5))


@pytest.mark.parametrize("views", [2, 4])
def test_loss_of_orthogonal_images_in_closed_form(views: int, unit_axes: Any) -> None:
    """There are V (V - 1) / 2 positives with cosine 1, and each of the V views has N - 1 negatives with cosine 0."""
    rows = 6
    expected = views * math.log(rows - 1) - math.log(views * (views - 1) / 2) - 1 / 0.5
    built = MvDhel(MvDhelOptions(temperature=0.5))
    assert built.attract(unit_axes(views, rows), []).item() == pytest.approx(expected, rel=1e-6)


def test_ten_views_at_a_low_temperature_stay_finite(draw: Any) -> None:
    """The product over views of sums of e^(1/T) exceeds float32's range; its logarithm does not."""
    tensors = [view.float().requires_grad_() for view in draw(10, 6, 5)]
    value = loss(tensors, temperature=0.02)
    value.backward()
    assert value.item() > math.log(torch.finfo(torch.float32).max)
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in tensors)


def test_images_of_other_views_do_not_repel() -> None:
    """Replacing one view's images by vectors near other images of the other view changes only the positives."""
    first = torch.eye(4, 8)
    turned = torch.eye(4, 8).roll(4, dims=1)  # orthogonal to all of the first view
    crossed = first[[1, 0, 3, 2]]  # orthogonal to its own image, equal to another
    torch.testing.assert_close(loss([first, turned]), loss([first, crossed]))


def test_a_batch_of_one_is_refused(draw: Any) -> None:
    with pytest.raises(UserError, match="at least 2 images"):
        loss([tensor.float() for tensor in draw(3, 1, 5)])
