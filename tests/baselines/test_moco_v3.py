"""MoCo v3: its InfoNCE against the teacher's keys, its head and its momentum."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clever.baselines import HeadOutput
from clever.baselines.moco_v3 import MocoV3
from clever.baselines.options.moco_v3 import MocoV3Options
from clever.errors import UserError

TINY = {"momentum": 0.9}


def moco(**settings: Any) -> MocoV3:
    return MocoV3(MocoV3Options(hidden_dim=12, out_dim=10, **settings))


def student(tensors: list[Tensor]) -> list[HeadOutput]:
    """z1, z2, q1, q2, k1, k2; the first four belong to the student."""
    return [HeadOutput(tensors[0], tensors[2]), HeadOutput(tensors[1], tensors[3])]


def teacher(tensors: list[Tensor]) -> list[HeadOutput]:
    return [HeadOutput(tensors[4]), HeadOutput(tensors[5])]


def reference(t: list[Tensor], temperature: float) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for queries, keys in ((t[2], t[5]), (t[3], t[4])):
        q = [row / row.norm() for row in queries]
        k = [row.detach() / row.detach().norm() for row in keys]
        for i in range(len(q)):
            everyone = torch.stack([torch.exp(q[i] @ key / temperature) for key in k]).sum()
            loss = -torch.log(torch.exp(q[i] @ k[i] / temperature) / everyone)
            total = total + 2 * temperature * loss / len(q)
    return total


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_loss_and_gradient_reach_only_the_predictions(temperature: float, draw: Any, agree: Any) -> None:
    built = moco(temperature=temperature)
    agree(lambda t: built.attract(student(t), teacher(t)), lambda t: reference(t, temperature), draw(6, 5, 10))


def test_loss_of_orthogonal_images_in_closed_form() -> None:
    """Each order costs 2 T (log(e^(1/T) + N - 1) - 1/T)."""
    axes = torch.eye(6, 10)
    views = [HeadOutput(axes, axes)] * 2
    expected = 2 * 2 * 0.5 * (math.log(math.exp(2) + 5) - 2)
    assert moco(temperature=0.5).attract(views, views).item() == pytest.approx(expected, rel=1e-6)


def test_similarity_is_the_absolute_mean_signed_cosine(draw: Any, agree: Any) -> None:
    def expected(t: list[Tensor]) -> Tensor:
        pairs = [(q, k.detach()) for q, k in ((t[2], t[5]), (t[3], t[4]))]
        return torch.stack([nn.functional.cosine_similarity(q, k).mean() for q, k in pairs]).mean().abs()

    built, inputs = moco(), draw(6, 5, 10)
    for sign in (1, -1):
        signed = [*inputs[:4], sign * inputs[4], sign * inputs[5]]
        agree(lambda t: built.similarity(student(t), teacher(t)), expected, signed)


@pytest.mark.parametrize(
    ("settings", "projector", "affine_free"),
    [
        ({}, [(64, 4096), (4096, 256)], 1),
        ({"projector_layers": 3, "predictor_batch_norm": True}, [(64, 4096), (4096, 4096), (4096, 256)], 2),
    ],
)
def test_head_has_the_published_shapes(
    settings: dict[str, Any], projector: list[tuple[int, int]], affine_free: int
) -> None:
    head = MocoV3(MocoV3Options(**settings)).make_head(64)
    linear = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
    assert [(x.in_features, x.out_features) for x in linear] == [*projector, (256, 4096), (4096, 256)]
    assert all(layer.bias is None for layer in linear)
    norms = [layer for layer in head.modules() if isinstance(layer, nn.BatchNorm1d)]
    assert sum(not norm.affine for norm in norms) == affine_free
    assert not head.projector[-1].affine


def test_norm_groups_and_momentum() -> None:
    built = moco(momentum=0.95)
    head = built.make_head(7)
    groups = head.norm_groups()
    assert [{id(p) for p in group} for group in groups] == [
        {id(p) for p in part.parameters()} for part in (head.projector, head.predictor)
    ]
    assert built.options.teacher_momentum(0) == pytest.approx(0.95)
    assert built.options.teacher_momentum(0.5) == pytest.approx(0.975)
    assert built.options.teacher_momentum(1) == 1


def test_a_batch_of_one_and_a_third_view_are_refused(draw: Any) -> None:
    one = [HeadOutput(view.float(), view.float()) for view in draw(2, 1, 10)]
    with pytest.raises(UserError, match="at least 2 images"):
        moco().attract(one, one)
    three = [HeadOutput(view.float(), view.float()) for view in draw(3, 4, 10)]
    with pytest.raises(UserError, match="moco_v3 compares exactly two views, not 3"):
        moco().attract(three, three[:2])
