"""CARE: its loss and gradient against plain float64 loops; rotations of the embeddings have zero loss."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clever.augmentation import AugmentationOptions, make_view_maker
from clever.baselines import HeadOutput
from clever.equivariance import Encoded
from clever.equivariance.care import change_of_angles
from clever.equivariance.options.care import COPIES, CareOptions
from clever.pretraining.composition import build_objective
from clever.pretraining.recipe import MethodOptions
from clever.randomness import make_generator, seeded

from .encodings import terms_of

TINY = {"images_per_chunk": 2}

ROWS, WIDTH, CHUNK = 6, 5, 3


def by_pairs(first: Tensor, second: Tensor) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for i in range(ROWS):
        for j in range(ROWS):
            if i != j and i // CHUNK == j // CHUNK:
                one, other = (c[i] @ c[j] / (c[i].norm() * c[j].norm()) for c in (first, second))
                total = total + 2 * (one - other).square() / ROWS
    return total


def test_value_gradient_and_weight() -> None:
    method = {"baseline": {"name": "simclr", "hidden_dim": 8, "out_dim": 4, "batch_norm_in_head": False}}
    added = {"name": "care", "images_per_chunk": CHUNK, "care_weight": 0.3}
    with seeded(0):
        objective = build_objective(MethodOptions.model_validate(method | {"equivariance": added}), WIDTH)
        heads = objective.make_heads()
    draw = make_generator(0, "features")
    copies = {name: torch.randn(ROWS, WIDTH, generator=draw).requires_grad_() for name in COPIES}
    views = [torch.randn(ROWS, WIDTH, generator=draw) for _ in range(2)]
    outputs: dict[str, list[HeadOutput]] = {"ALL": [heads["ALL"](view) for view in views]}
    terms = terms_of(objective, Encoded(views, outputs, heads, extra=copies))
    assert set(terms) == {"contrast", "care"}
    assert terms["care"].weight == 0.3
    doubles = [copy.detach().double().requires_grad_() for copy in copies.values()]
    weights = {name: value.detach().double() for name, value in heads["ALL"].state_dict().items()}

    def head(x: Tensor) -> Tensor:
        hidden = (x @ weights["projector.0.weight"].T + weights["projector.0.bias"]).clamp(min=0)
        return hidden @ weights["projector.2.weight"].T + weights["projector.2.bias"]

    expected = by_pairs(*(head(copy) for copy in doubles))
    torch.testing.assert_close(terms["care"].value.double(), expected, rtol=1e-5, atol=1e-7)
    got = torch.autograd.grad(terms["care"].value, list(copies.values()))
    for mine, theirs in zip(got, torch.autograd.grad(expected, doubles), strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-3, atol=1e-6)


def test_only_orthogonal_maps_of_a_chunk_have_zero_loss() -> None:
    draw = torch.Generator().manual_seed(0)
    first = torch.randn(ROWS, WIDTH, generator=draw)
    turns = [torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=draw)).Q for _ in range(2)]
    turned = torch.cat([first[:CHUNK] @ turns[0], first[CHUNK:] @ turns[1]])
    assert change_of_angles(first, turned, CHUNK) < 1e-10
    assert change_of_angles(first, turned, ROWS) > 1e-2
    assert change_of_angles(first, torch.randn(ROWS, WIDTH, generator=draw), CHUNK) > 1e-2


def test_a_chunk_shares_its_transformation() -> None:
    options = CareOptions(images_per_chunk=2)
    views = AugmentationOptions(global_size=16, local_size=8, local_views=0)
    maker = make_view_maker(views, (0.5,) * 3, (0.2,) * 3, False, options.extra_views(), options.shared_draws)
    tables = maker.draw(torch.full((4, 2), 20), make_generator(0))
    for table in tables[-2:]:
        for column in table.values():
            assert torch.equal(column[0::2], column[1::2])
    assert not torch.equal(tables[0]["crop_top"][0::2], tables[0]["crop_top"][1::2])
    assert not torch.equal(tables[-1]["brightness"], tables[-2]["brightness"])


def test_chunks_of_one_image_are_rejected() -> None:
    with pytest.raises(ValueError, match="images_per_chunk"):
        CareOptions(images_per_chunk=1)
