"""STAR: routing, prediction and gradient against plain float64 loops, and the baselines it rejects."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clever.augmentation import ParameterSpace, View
from clever.augmentation.options.views import FIRST, SECOND
from clever.baselines import HeadOutput
from clever.equivariance import Encoded
from clever.equivariance.options.equivariance import UNAUGMENTED
from clever.pretraining.composition import build_objective
from clever.pretraining.recipe import MethodOptions
from clever.randomness import make_generator, seeded

TINY = {"experts": 2}

ROWS, WIDTH, OUT, EXPERTS = 5, 4, 3, 2


class Numbers(ParameterSpace):
    names = ("x", "y")
    relative_names = ("x", "y")

    def vector(self, view: View) -> Tensor:
        return view.parameters["numbers"]

    def relative(self, first: View, second: View) -> Tensor:
        return self.vector(second) - self.vector(first)


def mlp(weights: dict[str, Tensor], name: str, rows: Tensor) -> Tensor:
    for depth in (0, 3):
        rows = rows @ weights[f"{name}.{depth}.weight"].T
        rows = (rows - rows.mean(0)) / (rows.var(0, correction=0) + 1e-5).sqrt()
        rows = (rows * weights[f"{name}.{depth + 1}.weight"] + weights[f"{name}.{depth + 1}.bias"]).clamp(min=0)
    return rows @ weights[f"{name}.6.weight"].T + weights[f"{name}.6.bias"]


def routed(weights: dict[str, Tensor], task: str, rows: Tensor) -> Tensor:
    shares = (rows @ weights[f"{task}_router.weight"].T + weights[f"{task}_router.bias"]).exp()
    outputs = [mlp(weights, f"experts.{number}", rows) for number in range(EXPERTS)]
    return sum((shares[:, n : n + 1] * outputs[n] for n in range(EXPERTS)), torch.zeros(())) / shares.sum(
        1, keepdim=True
    )


def nt_xent(first: Tensor, second: Tensor) -> Tensor:
    rows = F.normalize(torch.cat([first, second]), dim=1)
    count, total = len(first), torch.zeros((), dtype=torch.float64)
    for i in range(2 * count):
        logits = torch.stack([rows[i] @ rows[j] for j in range(2 * count) if j != i]) / 0.2
        total = total + (torch.logsumexp(logits, 0) - rows[i] @ rows[(i + count) % (2 * count)] / 0.2) / (2 * count)
    return total


def test_routing_prediction_and_gradient() -> None:
    method = {
        "baseline": {"name": "simclr", "out_dim": OUT},
        "equivariance": {"name": "star", "experts": EXPERTS, "predictor_dim": 6, "star_weight": 0.7},
    }
    with seeded(0):
        objective = build_objective(MethodOptions.model_validate(method), WIDTH, Numbers())
        heads, layers = objective.make_heads(), objective.add_on.make_layers()
    draw = make_generator(0, "features")
    still, *features = (torch.randn(ROWS, WIDTH, generator=draw).requires_grad_() for _ in range(3))
    numbers = [torch.randn(ROWS, 2, generator=draw) for _ in range(2)]
    views = {
        name: View(torch.zeros(ROWS, 3, 1, 1), {"numbers": of_view}, "global", torch.full((ROWS, 2), 8))
        for name, of_view in zip((FIRST, SECOND), numbers, strict=True)
    }
    outputs: dict[str, list[HeadOutput]] = {"ALL": [heads["ALL"](view) for view in features]}
    encoded = Encoded(features, outputs, heads, layers, {UNAUGMENTED: still})
    batch = objective.batch(encoded, encoded, views)
    terms = objective.terms(batch)
    assert {name: term.weight for name, term in terms.items()} == {"contrast": 1.0, "star": 0.7}

    modules = {**dict(heads["ALL"].named_parameters()), **dict(layers.named_parameters())}
    weights = {name: value.detach().double().requires_grad_() for name, value in modules.items()}
    doubles = [rows.detach().double().requires_grad_() for rows in (still, *features)]
    for mine, view in zip(outputs["ALL"], doubles[1:], strict=True):
        torch.testing.assert_close(mine.projection.double(), routed(weights, "invariant", view), rtol=1e-4, atol=1e-5)
    zero, one, two = routed(weights, "equivariant", torch.cat(doubles)).chunk(3)
    source, known = torch.cat([zero, zero]), torch.cat(numbers).double()
    known = known @ weights["transformation.weight"].T + weights["transformation.bias"]
    predicted = source + mlp(weights, "predictor", torch.cat([source, known], 1))
    expected = nt_xent(torch.cat([one, two]), predicted)
    torch.testing.assert_close(terms["star"].value.double(), expected, rtol=1e-4, atol=1e-6)
    got = torch.autograd.grad(terms["star"].value, [still, *features, *modules.values()], allow_unused=True)
    want = torch.autograd.grad(expected, [*doubles, *weights.values()], allow_unused=True)
    for name, mine_, theirs in zip(["0", "1", "2", *modules], got, want, strict=True):
        assert (mine_ is None) == (theirs is None) == name.startswith("invariant_router")
        if mine_ is not None:
            torch.testing.assert_close(mine_.double(), theirs, rtol=2e-3, atol=2e-5)

    before = {name: buffer.clone() for name, buffer in heads.named_buffers()}
    diagnosis = objective.add_on.diagnose(batch)
    assert 0 < diagnosis["router_overlap"] <= 1
    assert -2 <= diagnosis["star_gain"] <= 2
    assert all(torch.equal(buffer, before[name]) for name, buffer in heads.named_buffers())


@pytest.mark.parametrize("baseline", ["dino", "simsiam", "byol", "moco_v3", "swav", "nnclr"])
def test_baselines_with_further_layers_are_rejected(baseline: str) -> None:
    with pytest.raises(ValueError, match=f"{baseline} needs further layers"):
        MethodOptions.model_validate({"baseline": {"name": baseline}, "equivariance": {"name": "star"}})
