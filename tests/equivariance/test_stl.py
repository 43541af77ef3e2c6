"""STL: its terms and gradients against plain float64 loops, and the pairing of images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from clever.baselines import HeadOutput
from clever.equivariance import Encoded
from clever.equivariance.stl import of_partners
from clever.pretraining.composition import build_objective
from clever.pretraining.recipe import MethodOptions
from clever.randomness import make_generator, seeded

from .encodings import terms_of

TINY = {"transformation_dim": 4, "hypernetwork_start": "equal_length"}

ROWS, WIDTH, CODE, TEMPERATURE = 6, 4, 3, 0.2


def mlp(weights: dict[str, Tensor], name: str, rows: Tensor) -> Tensor:
    hidden = rows @ weights[f"{name}.0.weight"].T
    hidden = (hidden - hidden.mean(0)) / (hidden.var(0, correction=0) + 1e-5).sqrt()
    hidden = hidden * weights[f"{name}.1.weight"] + weights[f"{name}.1.bias"]
    return hidden.clamp(min=0) @ weights[f"{name}.3.weight"].T


def nt_xent(first: Tensor, second: Tensor) -> Tensor:
    rows = F.normalize(torch.cat([first, second]), dim=1)
    count, total = len(first), torch.zeros((), dtype=torch.float64)
    for i in range(2 * count):
        logits = torch.stack([rows[i] @ rows[j] for j in range(2 * count) if j != i]) / TEMPERATURE
        positive = rows[i] @ rows[(i + count) % (2 * count)] / TEMPERATURE
        total = total + (torch.logsumexp(logits, 0) - positive) / (2 * count)
    return total


def reference(weights: dict[str, Tensor], views: list[Tensor]) -> tuple[Tensor, Tensor]:
    first, second = views
    there = mlp(weights, "encoder", torch.cat([first, second], 1))
    back = mlp(weights, "encoder", torch.cat([second, first], 1))
    partner = [1, 0, 3, 2, 5, 4]
    matrix = weights["hypernetwork.weight"]

    def move(codes: Tensor, features: Tensor) -> Tensor:
        return torch.stack([torch.einsum("a,aij,j->i", codes[partner[n]], matrix, features[n]) for n in range(ROWS)])

    together = mlp(weights, "projector", torch.cat([first, second, move(back, second), move(there, first)]))
    codes = mlp(weights, "code_projector", torch.cat([there, back]))
    even = torch.cat([codes[[0, 2, 4]], codes[[6, 8, 10]]])
    odd = torch.cat([codes[[1, 3, 5]], codes[[7, 9, 11]]])
    return nt_xent(together[: 2 * ROWS], together[2 * ROWS :]), nt_xent(even, odd)


def test_terms_and_gradients() -> None:
    added = {"name": "stl", "transformation_dim": CODE, "hidden_dim": 5, "out_dim": 3, "transformation_weight": 0.25}
    method = {"baseline": {"name": "simclr", "hidden_dim": 8, "out_dim": 4}, "equivariance": added}
    with seeded(0):
        objective = build_objective(MethodOptions.model_validate(method), WIDTH)
        heads, layers = objective.make_heads(), objective.add_on.make_layers()
    draw = make_generator(0, "features")
    views = [torch.randn(ROWS, WIDTH, generator=draw).requires_grad_() for _ in range(2)]
    outputs: dict[str, list[HeadOutput]] = {"ALL": [heads["ALL"](view) for view in views]}
    terms = terms_of(objective, Encoded(views, outputs, heads, layers))
    assert {name: term.weight for name, term in terms.items()} == {
        **{"contrast": 1.0, "stl": 1.0},
        "transformation": 0.25,
    }
    weights = {name: value.detach().double().requires_grad_() for name, value in layers.named_parameters()}
    doubles = [view.detach().double().requires_grad_() for view in views]
    for name, expected in zip(("stl", "transformation"), reference(weights, doubles), strict=True):
        torch.testing.assert_close(terms[name].value.double(), expected, rtol=1e-4, atol=1e-6)
        mine = torch.autograd.grad(
            terms[name].value, [*views, *layers.parameters()], retain_graph=True, allow_unused=True
        )
        theirs = torch.autograd.grad(expected, [*doubles, *weights.values()], retain_graph=True, allow_unused=True)
        for one, other in zip(mine, theirs, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(one.double(), other, rtol=2e-3, atol=1e-5)


def test_partners_are_neighbours() -> None:
    assert of_partners(torch.arange(6.0).unsqueeze(1)).flatten().tolist() == [1, 0, 3, 2, 5, 4]


def test_neighbours_share_the_views() -> None:
    method = MethodOptions.model_validate({"baseline": {"name": "simclr"}, "equivariance": {"name": "stl"}})
    assert method.equivariance.shared_draws == 2
