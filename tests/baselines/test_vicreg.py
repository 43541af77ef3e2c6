"""VICReg: its three terms, both conventions of the variance, and the identity covariance."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import VICRegLoss
from torch import Tensor, nn

from clever.baselines import HeadOutput
from clever.baselines.options.vicreg import VicregOptions
from clever.baselines.vicreg import Vicreg, covariance, variance_hinge
from clever.errors import UserError

SHAPES = [(12, 5), (5, 12), (6, 6)]


def loss(tensors: list[Tensor], **settings: Any) -> Tensor:
    return Vicreg(VicregOptions(**settings)).attract([HeadOutput(tensor) for tensor in tensors], [])


def reference(tensors: list[Tensor], weights: tuple[float, float, float], halve: bool) -> Tensor:
    rows, width = tensors[0].shape
    total = (
        weights[0] * torch.stack([(a - b) ** 2 for a, b in zip(*(t.flatten() for t in tensors), strict=True)]).mean()
    )
    for view in tensors:
        columns = [view[:, d] - view[:, d].sum() / rows for d in range(width)]
        for i in range(width):
            for j in range(width):
                moment = (columns[i] * columns[j]).sum() / (rows - 1)
                if i == j:
                    hinge = torch.clamp(1 - torch.sqrt(moment + 1e-4), min=0)
                    total = total + weights[1] * hinge / width / (2 if halve else 1)
                else:
                    total = total + weights[2] * moment**2 / width
    return total


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("halve", [True, False])
def test_loss_and_gradient(shape: tuple[int, int], halve: bool, draw: Any, agree: Any) -> None:
    inputs = [0.6 * view for view in draw(2, *shape)]  # some deviations above 1, some below
    weights = {"invariance_weight": 3.0, "variance_weight": 7.0, "covariance_weight": 2.0}
    agree(lambda t: loss(t, halve_variance=halve, **weights), lambda t: reference(t, (3, 7, 2), halve), inputs)


@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_gradient_equal_lightly(shape: tuple[int, int], draw: Any, agree: Any) -> None:
    agree(lambda t: loss(t), lambda t: VICRegLoss()(*t), [0.6 * view for view in draw(2, *shape)])


def test_solo_learn_s_variance_term_is_twice_the_authors(draw: Any) -> None:
    tensors = [0.3 * view.float() for view in draw(2, 6, 5)]
    torch.testing.assert_close(loss(tensors, halve_variance=False), loss(tensors, variance_weight=50.0))


@pytest.mark.parametrize("width", [3, 9])
def test_loss_of_the_identity_covariance_is_zero(width: int) -> None:
    rows = 10
    centred = torch.randn(rows, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centred = centred - centred.mean(0)
    whitened = torch.linalg.qr(centred).Q * (rows - 1) ** 0.5
    torch.testing.assert_close(torch.cov(whitened.T), torch.eye(width, dtype=torch.float64))
    embedding = whitened.float() + 4  # a common shift changes no covariance
    assert variance_hinge(embedding).item() == 0
    assert covariance(embedding).item() == pytest.approx(0, abs=1e-9)
    assert loss([embedding, embedding]).item() == pytest.approx(0, abs=1e-6)
    # With half the standard deviation, every column is 1/2 below 1.
    expected = 1 - (0.25 + 1e-4) ** 0.5
    assert loss([embedding / 2, embedding / 2]).item() == pytest.approx(25 * expected, rel=1e-5)


def test_a_repeated_column_costs_its_covariance() -> None:
    column = torch.tensor([1.0, -1.0, 1.0, -1.0])  # unbiased variance 4/3
    embedding = torch.stack([column, column], dim=1)
    assert covariance(embedding).item() == pytest.approx(2 * (4 / 3) ** 2 / 2, rel=1e-6)


def test_similarity_is_the_absolute_mean_cosine(draw: Any, agree: Any) -> None:
    vicreg = Vicreg(VicregOptions())
    first, second = draw(2, 6, 5)
    for inputs in ([first, second], [first, -second]):
        agree(
            lambda t: vicreg.similarity([HeadOutput(v) for v in t], []),
            lambda t: F.cosine_similarity(*t).mean().abs(),
            inputs,
        )


def test_head_has_the_published_shapes() -> None:
    head = Vicreg(VicregOptions()).make_head(64)
    linear = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
    assert [(x.in_features, x.out_features) for x in linear] == [(64, 8192), (8192, 8192), (8192, 8192)]
    assert [type(layer).__name__ for layer in head.projector] == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear"]


def test_diagnosis_detects_a_collapse(draw: Any) -> None:
    vicreg = Vicreg(VicregOptions())
    healthy = [HeadOutput(view.float()) for view in draw(2, 400, 16)]
    deviation = vicreg.diagnose(healthy, [])["embedding_deviation"].item()
    assert deviation == pytest.approx(2**0.5, rel=0.05)  # a common and an individual part, each with variance 1
    assert vicreg.diagnose([HeadOutput(torch.ones(6, 4))] * 2, [])["embedding_deviation"].item() == 0


def test_a_batch_of_one_and_a_third_view_are_refused(draw: Any) -> None:
    with pytest.raises(UserError, match="at least 2 images"):
        loss([tensor.float() for tensor in draw(2, 1, 5)])
    with pytest.raises(UserError, match="vicreg compares exactly two views, not 3"):
        loss([tensor.float() for tensor in draw(3, 4, 5)])
