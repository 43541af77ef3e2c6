"""SimSiam: its loss, DDCL's similarity, and the published head."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from torch import Tensor, nn

from clever.baselines import HeadOutput
from clever.baselines.options.simsiam import SimsiamOptions
from clever.baselines.simsiam import Simsiam
from clever.errors import UserError

TINY = {"out_dim": 12, "predictor_dim": 6}
STOPS_GRADIENTS = {"simsiam": "the targets"}

SIMSIAM = Simsiam(SimsiamOptions(hidden_dim=12, out_dim=10, predictor_dim=4))


def outputs(tensors: list[Tensor]) -> list[HeadOutput]:
    """z1, z2, p1, p2 as two views."""
    return [HeadOutput(tensors[0], tensors[2]), HeadOutput(tensors[1], tensors[3])]


def signed(tensors: list[Tensor]) -> Tensor:
    z, p = tensors[:2], tensors[2:]
    total = torch.zeros((), dtype=torch.float64)
    for view in (0, 1):
        for row in range(len(z[0])):
            a, b = p[view][row], z[1 - view][row].detach()
            total = total + (a * b).sum() / (a.norm() * b.norm()) / len(z[0])
    return total / 2


def test_loss_and_gradient(draw: Any, agree: Any) -> None:
    agree(lambda t: SIMSIAM.attract(outputs(t), outputs(t)), lambda t: -signed(t), draw(4, 5, 10))


@pytest.mark.parametrize("sign", [1, -1])
def test_similarity_is_the_absolute_value_of_the_mean_signed_cosine(sign: int, draw: Any, agree: Any) -> None:
    z1, z2, p1, p2 = draw(4, 5, 10)
    inputs = [sign * z1, sign * z2, p1, p2]
    assert (signed(inputs) * sign).item() > 0.1
    agree(lambda t: SIMSIAM.similarity(outputs(t), outputs(t)), lambda t: signed(t).abs(), inputs)


def test_cosines_of_both_signs_cancel_before_the_absolute_value() -> None:
    z = torch.eye(4)
    p = z * torch.tensor([1.0, 1.0, -1.0, -1.0]).unsqueeze(1)
    views = outputs([z, z, p, p])
    assert SIMSIAM.similarity(views, views).item() == pytest.approx(0, abs=1e-7)
    half = outputs([z, z, -p, z])  # mean cosines 0 and 1
    assert SIMSIAM.similarity(half, half).item() == pytest.approx(0.5)


def test_loss_equals_lightly(draw: Any) -> None:
    z1, z2, p1, p2 = (tensor.float() for tensor in draw(4, 5, 10))
    lightly = NegativeCosineSimilarity()
    expected = (lightly(p1, z2) + lightly(p2, z1)) / 2
    views = outputs([z1, z2, p1, p2])
    torch.testing.assert_close(SIMSIAM.attract(views, views), expected)


def test_head_has_the_published_shapes() -> None:
    head = Simsiam(SimsiamOptions()).make_head(64)
    shapes = [(p.weight.shape[1], p.weight.shape[0]) for p in head.modules() if isinstance(p, nn.Linear)]
    assert shapes == [(64, 2048), (2048, 2048), (2048, 2048), (2048, 512), (512, 2048)]
    kinds = [type(layer).__name__ for layer in head.projector]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    assert not head.projector[-1].affine
    assert [type(layer).__name__ for layer in head.predictor] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert [layer.bias is None for layer in head.modules() if isinstance(layer, nn.Linear)] == [True] * 4 + [False]


def test_projector_and_predictor_are_two_norm_groups() -> None:
    head = SIMSIAM.make_head(7)
    projector, predictor = head.norm_groups()
    assert {id(p) for p in projector} == {id(p) for p in head.projector.parameters()}
    assert {id(p) for p in predictor} == {id(p) for p in head.predictor.parameters()}
    assert len(projector) + len(predictor) == len(list(head.parameters()))


def test_the_predictor_s_learning_rate_is_constant_by_default() -> None:
    head = SIMSIAM.make_head(7)
    assert {id(p) for p in SIMSIAM.constant_rate_parameters(head)} == {id(p) for p in head.predictor.parameters()}
    assert Simsiam(SimsiamOptions(constant_predictor_rate=False)).constant_rate_parameters(head) == []


def test_three_views_are_refused(draw: Any) -> None:
    views = [HeadOutput(view.float(), view.float()) for view in draw(3, 4, 10)]
    for name in ("attract", "similarity"):
        with pytest.raises(UserError, match=r"simsiam compares exactly two views, not 3: .*local_views to 0"):
            getattr(SIMSIAM, name)(views, views[:2])


def test_diagnosis_detects_a_collapse(draw: Any) -> None:
    healthy = [view.float() for view in draw(2, 400, 64)]
    values = SIMSIAM.diagnose([HeadOutput(view, view) for view in healthy], [])
    assert values["projection_std"].item() == pytest.approx(1, abs=0.05)
    assert 0.3 < values["projection_cosine"].item() < 0.7  # half of each view's variance is shared
    same = torch.ones(8, 64)
    values = SIMSIAM.diagnose([HeadOutput(same, same)] * 2, [])
    assert values["projection_std"].item() == pytest.approx(0, abs=1e-6)
    assert values["prediction_std"].item() == pytest.approx(0, abs=1e-6)
    assert values["projection_cosine"].item() == pytest.approx(1)
