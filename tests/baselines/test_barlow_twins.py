"""Barlow Twins: its loss with both ways of computing the off-diagonal energy, and its similarity."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightly.loss import BarlowTwinsLoss
from torch import Tensor, nn

from clever.baselines import HeadOutput
from clever.baselines.barlow_twins import BarlowTwins
from clever.baselines.options.barlow_twins import BarlowTwinsOptions
from clever.errors import UserError

SHAPES = [(12, 5), (5, 12), (6, 6)]  # more images than columns, fewer, and equally many


def barlow(**settings: Any) -> BarlowTwins:
    return BarlowTwins(BarlowTwinsOptions(hidden_dim=12, out_dim=10, **settings))


def loss(tensors: list[Tensor], **settings: Any) -> Tensor:
    return barlow(**settings).attract([HeadOutput(tensor) for tensor in tensors], [])


def correlation(tensors: list[Tensor]) -> list[list[Tensor]]:
    first, second = ((t - t.mean(0)) / torch.sqrt(t.var(0, correction=0) + 1e-5) for t in tensors)
    width = first.shape[1]
    return [[(first[:, i] * second[:, j]).mean() for j in range(width)] for i in range(width)]


def reference(tensors: list[Tensor], weight: float) -> Tensor:
    c = correlation(tensors)
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(c)):
        for j in range(len(c)):
            total = total + ((1 - c[i][j]) ** 2 if i == j else weight * c[i][j] ** 2)
    return total


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weight", [0.0051, 0.5])
def test_loss_and_gradient(shape: tuple[int, int], weight: float, draw: Any, agree: Any) -> None:
    agree(lambda t: loss(t, redundancy_weight=weight), lambda t: reference(t, weight), draw(2, *shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_gradient_equal_lightly(shape: tuple[int, int], draw: Any, agree: Any) -> None:
    lightly = BarlowTwinsLoss(lambda_param=0.0051)
    agree(lambda t: loss(t, scale=0.1), lambda t: 0.1 * lightly(*t), draw(2, *shape))


def hadamard() -> Tensor:
    """Seven columns of mean 0 and variance 1 that are uncorrelated over eight images."""
    two = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    return torch.kron(torch.kron(two, two), two)[:, 1:]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (hadamard(), 0.0),  # C = I
        (-hadamard(), 7 * 4.0),  # C = -I
        (hadamard().roll(1, dims=1), 7 + 0.5 * 7),  # a permutation without a fixed point: seven ones off the diagonal
        (3 * hadamard() - 5, 0.0),  # scale and shift do not matter
    ],
)
def test_perfect_correlation_and_its_opposites(second: Tensor, expected: float) -> None:
    value = loss([hadamard(), second], redundancy_weight=0.5)
    assert value.item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_similarity_is_the_mean_diagonal_of_the_correlation(shape: tuple[int, int], draw: Any, agree: Any) -> None:
    def expected(t: list[Tensor]) -> Tensor:
        c = correlation(t)
        return torch.stack([c[i][i] for i in range(len(c))]).mean().abs()

    first, second = draw(2, *shape)
    for inputs in ([first, second], [first, -second]):
        agree(lambda t: barlow().similarity([HeadOutput(v) for v in t], []), expected, inputs)


def test_similarity_of_equal_and_of_uncorrelated_projections() -> None:
    same = [HeadOutput(hadamard())] * 2
    assert barlow().similarity(same, []).item() == pytest.approx(1, rel=1e-4)
    rolled = [HeadOutput(hadamard()), HeadOutput(hadamard().roll(1, dims=1))]
    assert barlow().similarity(rolled, []).item() == pytest.approx(0, abs=1e-6)


def test_products_are_not_rounded_under_autocast(draw: Any) -> None:
    for shape in SHAPES:
        tensors = [tensor.float() for tensor in draw(2, *shape)]
        plain = loss(tensors)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(loss(tensors), plain)


def test_head_has_the_published_shapes() -> None:
    head = BarlowTwins(BarlowTwinsOptions()).make_head(64)
    linear = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
    assert [(x.in_features, x.out_features) for x in linear] == [(64, 8192), (8192, 8192), (8192, 8192)]
    assert all(layer.bias is None for layer in linear)
    kinds = [type(layer).__name__ for layer in head.projector]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear"]


def test_a_batch_of_one_and_a_third_view_are_refused(draw: Any) -> None:
    with pytest.raises(UserError, match="at least 2 images"):
        loss([tensor.float() for tensor in draw(2, 1, 5)])
    with pytest.raises(UserError, match="barlow_twins compares exactly two views, not 3"):
        loss([tensor.float() for tensor in draw(3, 4, 5)])
