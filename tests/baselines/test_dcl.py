"""DCL and DCLW: the decoupled loss and its weights."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from lightly.loss import DCLLoss, DCLWLoss
from torch import Tensor

from clever.baselines import HeadOutput
from clever.baselines.dcl import Dcl, Dclw, mises_fisher_weights
from clever.baselines.options.dcl import DclOptions, DclwOptions

STOPS_GRADIENTS = {"dclw": "the weights of the positives"}


def dcl(tensors: list[Tensor], **settings: Any) -> Tensor:
    return Dcl(DclOptions(**settings)).attract([HeadOutput(tensor) for tensor in tensors], [])


def dclw(tensors: list[Tensor], **settings: Any) -> Tensor:
    return Dclw(DclwOptions(**settings)).attract([HeadOutput(tensor) for tensor in tensors], [])


def reference(tensors: list[Tensor], temperature: float, sigma: float | None) -> Tensor:
    z = [[row / row.norm() for row in view] for view in tensors]
    count = len(z[0])
    pairs = [(z[0][i] @ z[1][i]).detach() for i in range(count)]
    total = torch.zeros((), dtype=torch.float64)
    for view in (0, 1):
        for i in range(count):
            weight = 1.0
            if sigma is not None:
                share = math.exp(pairs[i].item() / sigma) / sum(math.exp(pair.item() / sigma) for pair in pairs)
                weight = 2 - count * share
            negatives = torch.zeros((), dtype=torch.float64)
            for other in (0, 1):
                for j in range(count):
                    if j != i:
                        negatives = negatives + torch.exp(z[view][i] @ z[other][j] / temperature)
            total = total - weight * (z[view][i] @ z[1 - view][i]) / temperature + torch.log(negatives)
    return total / (2 * count)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_dcl_loss_and_gradient(temperature: float, draw: Any, agree: Any) -> None:
    agree(lambda t: dcl(t, temperature=temperature), lambda t: reference(t, temperature, None), draw(2, 6, 5))


@pytest.mark.parametrize("sigma", [0.5, 0.2])
def test_dclw_loss_and_gradient(sigma: float, draw: Any, agree: Any) -> None:
    agree(lambda t: dclw(t, sigma=sigma), lambda t: reference(t, 0.1, sigma), draw(2, 6, 5))


def test_both_equal_lightly(draw: Any, agree: Any) -> None:
    agree(lambda t: dcl(t), lambda t: DCLLoss()(*t), draw(2, 7, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # lightly copies a tensor with torch.tensor
        agree(lambda t: dclw(t), lambda t: DCLWLoss()(*t), draw(2, 7, 5))


def test_loss_of_orthogonal_images_in_closed_form(unit_axes: Any) -> None:
    views = unit_axes(2, 6)
    expected = -1 / 0.1 + math.log(2 * 6 - 2)
    assert Dcl(DclOptions()).attract(views, []).item() == pytest.approx(expected, rel=1e-6)
    # All positives are equally similar, so all weights are 1.
    assert Dclw(DclwOptions()).attract(views, []).item() == pytest.approx(expected, rel=1e-6)


def test_weights_have_mean_one_and_favour_dissimilar_pairs(draw: Any) -> None:
    first, second = (torch.nn.functional.normalize(tensor.float(), dim=-1) for tensor in draw(2, 8, 5))
    weights = mises_fisher_weights(first, second, 0.5)
    assert weights.mean().item() == pytest.approx(1, rel=1e-6)
    order = (first * second).sum(-1).argsort()
    assert torch.equal(order, weights.argsort(descending=True))
