"""Hallucinator: the terms on SimSiam, MoCo v2 and SimCLR against plain float64 forms with the same draws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clever.baselines import HeadOutput
from clever.equivariance import Encoded, Objective
from clever.pretraining.composition import build_objective
from clever.pretraining.recipe import MethodOptions
from clever.randomness import make_generator, seeded

ROWS, WIDTH, OUT = 6, 5, 4
BASELINES: dict[str, dict[str, Any]] = {
    "simsiam": {"hidden_dim": 8, "out_dim": OUT, "predictor_dim": 3},
    "simclr": {"hidden_dim": 8, "out_dim": OUT, "temperature": 0.3},
    "moco_v2": {"hidden_dim": 8, "out_dim": OUT, "queue_length": 7, "temperature": 0.3},
}


def built(baseline: str) -> Objective:
    method = {
        "baseline": {"name": baseline, **BASELINES[baseline]},
        "equivariance": {"name": "hallucinator", "largest_extrapolation": 0.4},
    }
    with seeded(3):
        return build_objective(MethodOptions.model_validate(method), WIDTH)


def generated(layers: dict[str, Tensor], p: Tensor, k: Tensor, r: Tensor) -> Tensor:
    x = torch.cat([p, p + r * (p - k.detach())], 1)
    for depth in (0, 2, 4):
        x = x @ layers[f"generator.{depth}.weight"].T + layers[f"generator.{depth}.bias"]
        x = x.clamp(min=0.0) if depth < 4 else x
    return x


def cross_entropy(queries: Tensor, positives: Tensor, negatives: list[Tensor]) -> Tensor:
    q, k = F.normalize(queries, dim=1), F.normalize(positives, dim=1)
    rows = []
    for i in range(ROWS):
        logits = torch.stack([q[i] @ k[i], *(q[i] @ n for n in negatives[i])]) / 0.3
        rows.append(torch.logsumexp(logits, 0) - logits[0])
    return torch.stack(rows).mean()


def nt_xent(first: Tensor, second: Tensor) -> Tensor:
    a, b = F.normalize(first, dim=1), F.normalize(second, dim=1)
    others = [[*(x for j in range(ROWS) if j != i for x in (a[j], b[j]))] for i in range(ROWS)]
    return (cross_entropy(a, b, others) + cross_entropy(b, a, others)) / 2


@pytest.mark.parametrize("baseline", BASELINES)
def test_hallucination_and_its_gradient(baseline: str) -> None:
    objective = built(baseline)
    with seeded(4):
        heads, layers = objective.make_heads(), objective.add_on.make_layers()
    draw = make_generator(0, "outputs")

    def outputs() -> list[HeadOutput]:
        fields = 2 if baseline == "simsiam" else 1
        return [
            HeadOutput(*(torch.randn(ROWS, OUT, generator=draw).requires_grad_() for _ in range(fields)))
            for _ in range(2)
        ]

    student = outputs()
    teacher = outputs() if baseline == "moco_v2" else student
    features = [torch.zeros(ROWS, WIDTH)] * 2
    encoded = Encoded(features, {"ALL": student}, heads, layers)
    with seeded(5):
        batch = objective.batch(encoded, Encoded(features, {"ALL": teacher}, heads), {})
        terms = objective.terms(batch)
    assert {name: term.weight for name, term in terms.items()} == {"contrast": 0.5, "hallucination": 0.5}
    torch.testing.assert_close(
        terms["contrast"].value, objective.baseline("ALL").attract(student, teacher, heads["ALL"])
    )

    with seeded(5):
        reach = [(0.4 * torch.rand(ROWS, 1)).double() for _ in range(2)]
    weights = {name: value.detach().double().requires_grad_() for name, value in layers.named_parameters()}
    place = 1 if baseline == "simsiam" else 0
    p = [view[place].detach().double().requires_grad_() for view in student]  # type: ignore[union-attr]
    targets = [view.projection.detach().double() for view in teacher]
    k = targets if baseline == "moco_v2" else p
    g = [generated(weights, p[v], k[1 - v], reach[v]) for v in range(2)]
    if baseline == "simsiam":
        expected = -sum(F.cosine_similarity(g[v], targets[1 - v]).mean() for v in range(2)) / 2
    elif baseline == "simclr":
        expected = (nt_xent(g[0], p[1]) + nt_xent(p[0], g[1])) / 2
    else:
        queue = objective.baseline("ALL").get_buffer("queue").double()
        losses = [cross_entropy(g[v], targets[1 - v], [list(queue[1 - v])] * ROWS) for v in range(2)]
        expected = sum(losses) / 2
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(terms["hallucination"].value.double(), expected, rtol=1e-5, atol=1e-7)
    mine = torch.autograd.grad(
        terms["hallucination"].value, [view[place] for view in student] + list(layers.parameters())
    )  # type: ignore[arg-type]
    theirs = torch.autograd.grad(expected, p + list(weights.values()))
    for one, other in zip(mine, theirs, strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("baseline", ["dino", "swav"])
def test_baselines_with_prototypes_are_rejected(baseline: str) -> None:
    with pytest.raises(ValueError, match=f"{baseline} compares scores of prototypes"):
        MethodOptions.model_validate({"baseline": {"name": baseline}, "equivariance": {"name": "hallucinator"}})
