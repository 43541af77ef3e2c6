"""BYOL: its loss against the teacher's projections, its head and its momentum."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from torch import Tensor, nn

from clever.baselines import HeadOutput
from clever.baselines.byol import Byol
from clever.baselines.options.byol import ByolOptions
from clever.errors import UserError

TINY = {"momentum": 0.9}

BYOL = Byol(ByolOptions(hidden_dim=12, out_dim=10))


def student(tensors: list[Tensor]) -> list[HeadOutput]:
    """z1, z2, p1, p2, y1, y2; the first four belong to the student."""
    return [HeadOutput(tensors[0], tensors[2]), HeadOutput(tensors[1], tensors[3])]


def teacher(tensors: list[Tensor]) -> list[HeadOutput]:
    return [HeadOutput(tensors[4], torch.full_like(tensors[4], torch.nan)), HeadOutput(tensors[5])]


def distances(t: list[Tensor]) -> Tensor:
    """Squared distance between unit vectors, summed over both orders and averaged over images."""
    total = torch.zeros((), dtype=torch.float64)
    for p, y in ((t[2], t[5]), (t[3], t[4])):
        for a, b in zip(p, y.detach(), strict=True):
            total = total + (a / a.norm() - b / b.norm()).square().sum() / len(p)
    return total


def test_loss_and_gradient_reach_only_the_predictions(draw: Any, agree: Any) -> None:
    agree(lambda t: BYOL.attract(student(t), teacher(t)), distances, draw(6, 5, 10))


def test_similarity(draw: Any, agree: Any) -> None:
    inputs = draw(6, 5, 10)
    for sign in (1, -1):
        signed = [*inputs[:4], sign * inputs[4], sign * inputs[5]]
        agree(lambda t: BYOL.similarity(student(t), teacher(t)), lambda t: ((4 - distances(t)) / 4).abs(), signed)


def test_loss_equals_lightly(draw: Any) -> None:
    t = [tensor.float() for tensor in draw(6, 5, 10)]
    lightly = NegativeCosineSimilarity()
    expected = 2 + 2 * lightly(t[2], t[5]) + 2 + 2 * lightly(t[3], t[4])
    torch.testing.assert_close(BYOL.attract(student(t), teacher(t)), expected)


def test_head_has_the_published_shapes() -> None:
    head = Byol(ByolOptions()).make_head(64)
    linear = [(layer.in_features, layer.out_features) for layer in head.modules() if isinstance(layer, nn.Linear)]
    assert linear == [(64, 4096), (4096, 256), (256, 4096), (4096, 256)]
    for part in (head.projector, head.predictor):
        assert [type(layer).__name__ for layer in part] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert [len(group) for group in BYOL.make_head(7).norm_groups()] == [5, 5]


def test_a_predictor_with_a_separate_width() -> None:
    """solo-learn's ImageNet-100 recipe: 4096 in the projector, 8192 in the predictor."""
    head = Byol(ByolOptions(predictor_dim=8192)).make_head(64)
    linear = [(layer.in_features, layer.out_features) for layer in head.modules() if isinstance(layer, nn.Linear)]
    assert linear == [(64, 4096), (4096, 256), (256, 8192), (8192, 256)]


def test_momentum_follows_the_paper() -> None:
    byol, total = Byol(ByolOptions(momentum=0.99)), 37
    for k in range(total + 1):
        expected = 1 - (1 - 0.99) * (math.cos(math.pi * k / total) + 1) / 2
        assert byol.options.teacher_momentum(k / total) == pytest.approx(expected, abs=1e-15)
    assert byol.options.teacher_momentum(0) == pytest.approx(0.99)
    assert byol.options.teacher_momentum(1) == 1


def test_a_third_view_is_refused(draw: Any) -> None:
    views = [HeadOutput(view.float(), view.float()) for view in draw(3, 4, 10)]
    with pytest.raises(UserError, match="byol compares exactly two views, not 3"):
        BYOL.attract(views, views[:2])
