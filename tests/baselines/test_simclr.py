"""SimCLR: NT-Xent with both conventions for negatives, and the parts that all contrastive methods share."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from lightly.loss import NTXentLoss
from torch import Tensor, nn

from clever.baselines import HeadOutput
from clever.baselines.options.simclr import Negatives, SimclrOptions
from clever.baselines.simclr import Simclr
from clever.errors import UserError


def loss(tensors: list[Tensor], **settings: Any) -> Tensor:
    views = [HeadOutput(tensor) for tensor in tensors]
    return Simclr(SimclrOptions(**settings)).attract(views, views)


def reference(tensors: list[Tensor], temperature: float, negatives: Negatives) -> Tensor:
    z = [[row / row.norm() for row in view] for view in tensors]
    total = torch.zeros((), dtype=torch.float64)
    count = len(z[0])
    for view in (0, 1):
        for i in range(count):
            denominator = torch.zeros((), dtype=torch.float64)
            for other in (0, 1):
                for j in range(count):
                    if (other, j) != (view, i) and (negatives == "both_views" or other != view):
                        denominator = denominator + torch.exp(z[view][i] @ z[other][j] / temperature)
            total = total - torch.log(torch.exp(z[view][i] @ z[1 - view][i] / temperature) / denominator)
    return total / (2 * count)


@pytest.mark.parametrize("negatives", ["both_views", "other_view"])
@pytest.mark.parametrize("temperature", [0.1, 0.7])
def test_loss_and_gradient(negatives: Negatives, temperature: float, draw: Any, agree: Any) -> None:
    agree(
        lambda t: loss(t, temperature=temperature, negatives=negatives),
        lambda t: reference(t, temperature, negatives),
        draw(2, 6, 5),
    )


def test_loss_and_gradient_equal_lightly(draw: Any, agree: Any) -> None:
    agree(lambda t: loss(t, temperature=0.2), lambda t: NTXentLoss(temperature=0.2)(*t), draw(2, 7, 5))


@pytest.mark.parametrize(("negatives", "count"), [("both_views", 2 * 6 - 2), ("other_view", 6 - 1)])
def test_loss_of_orthogonal_images_in_closed_form(negatives: Negatives, count: int, unit_axes: Any) -> None:
    """Positives have cosine 1, and negatives have cosine 0."""
    views = unit_axes(2, 6)
    simclr = Simclr(SimclrOptions(temperature=0.5, negatives=negatives))
    assert simclr.attract(views, views).item() == pytest.approx(math.log(math.exp(2) + count) - 2, rel=1e-6)


def test_loss_of_a_constant_output_is_the_logarithm_of_the_number_of_candidates() -> None:
    views = [HeadOutput(torch.ones(6, 4))] * 2
    assert Simclr(SimclrOptions()).attract(views, views).item() == pytest.approx(math.log(11), rel=1e-6)


def test_similarity_is_the_absolute_mean_cosine_with_gradient_to_both_views(draw: Any, agree: Any) -> None:
    def expected(t: list[Tensor]) -> Tensor:
        cosines = [a @ b / (a.norm() * b.norm()) for a, b in zip(*t, strict=True)]
        return torch.stack(cosines).mean().abs()

    simclr = Simclr(SimclrOptions())
    first, second = draw(2, 6, 5)
    for inputs in ([first, second], [first, -second]):
        agree(lambda t: simclr.similarity([HeadOutput(v) for v in t], []), expected, inputs)


def test_logits_are_not_rounded_under_autocast(draw: Any) -> None:
    tensors = [tensor.float() for tensor in draw(2, 16, 8)]
    plain = loss(tensors)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(tensors), plain)


def test_a_batch_of_one_and_a_third_view_are_refused(draw: Any) -> None:
    with pytest.raises(UserError, match="at least 2 images"):
        loss([tensor.float() for tensor in draw(2, 1, 5)])
    with pytest.raises(UserError, match="exactly two views, not 3"):
        loss([tensor.float() for tensor in draw(3, 4, 5)])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]),
        ({"batch_norm_in_head": False}, ["Linear", "ReLU", "Linear"]),
        ({"head_layers": 3}, ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]),
        ({"affine_output": False}, ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]),
        ({"head_layers": 1}, ["Linear", "BatchNorm1d"]),
    ],
)
def test_head_has_the_published_shape(settings: dict[str, Any], expected: list[str]) -> None:
    head = Simclr(SimclrOptions(**settings)).make_head(64)
    assert [type(layer).__name__ for layer in head.projector] == expected
    linear = [layer for layer in head.projector if isinstance(layer, nn.Linear)]
    assert (linear[0].in_features, linear[-1].out_features) == (64, 128)
    assert {layer.out_features for layer in linear[:-1]} <= {2048}
    assert all((layer.bias is None) == settings.get("batch_norm_in_head", True) for layer in linear)
    norms = [layer.affine for layer in head.projector if isinstance(layer, nn.BatchNorm1d)]
    assert all(norms[:-1])
    assert norms[-1:] in ([], [settings.get("affine_output", True)])
