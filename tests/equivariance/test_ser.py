"""SER: its loss and gradient against plain float64 loops; an equivariant map has the smallest loss."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clever.augmentation import AugmentationOptions, make_view_maker
from clever.backbones import BackboneOptions
from clever.baselines import HeadOutput
from clever.equivariance import Encoded
from clever.equivariance.options.ser import SerOptions
from clever.equivariance.ser import TURNED, UPRIGHT, Ser, cell_contrast, moved
from clever.pretraining.composition import build_objective
from clever.pretraining.recipe import MethodOptions
from clever.randomness import make_generator, seeded

TINY = {"images": 4, "projector_dim": 8, "feature_map": 1}

IMAGES, CHANNELS, SIDE, WIDTH, TEMPERATURE = 6, 3, 2, 4, 0.4


def place(number: int, row: int, column: int) -> tuple[int, int]:
    """The new position of a cell of image ``number``."""
    for _ in range(number % 4):
        row, column = SIDE - 1 - column, row
    return (row, SIDE - 1 - column) if number // 4 % 2 else (row, column)


def by_cells(weights: dict[str, Tensor], student: dict[str, Tensor], teacher: dict[str, Tensor]) -> Tensor:
    def project(vector: Tensor) -> Tensor:
        vector = (vector - vector.mean()) / (vector.var(correction=0) + 1e-5).sqrt()
        vector = vector * weights["projector.0.weight"] + weights["projector.0.bias"]
        hidden = weights["projector.1.weight"] @ vector
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        out = weights["projector.3.weight"] @ hidden
        return out / out.norm()

    total, cells = torch.zeros((), dtype=torch.float64), IMAGES * SIDE * SIDE
    for i in range(IMAGES):
        for row in range(SIDE):
            for column in range(SIDE):
                r, c = place(i, row, column)
                pairs = [
                    (student[TURNED][i, :, r, c], teacher[UPRIGHT][i, :, row, column], teacher[UPRIGHT]),
                    (student[UPRIGHT][i, :, row, column], teacher[TURNED][i, :, r, c], teacher[TURNED]),
                ]
                for mine, target, others in pairs:
                    s = project(mine)
                    negatives = [
                        s @ project(others[j, :, y, x])
                        for j in range(IMAGES)
                        if j != i
                        for y in range(SIDE)
                        for x in range(SIDE)
                    ]
                    logits = torch.stack([s @ project(target), *negatives]) / TEMPERATURE
                    total = total + (torch.logsumexp(logits, 0) - logits[0]) / (2 * cells)
    return total


@pytest.mark.parametrize("baseline", ["simclr", "moco_v2"])
def test_value_and_gradient(baseline: str) -> None:
    added = {"name": "ser", "feature_map": 1, "projector_dim": 5, "temperature": TEMPERATURE, "ser_weight": 0.3}
    method = {"baseline": {"name": baseline, "hidden_dim": 8, "out_dim": 4}, "equivariance": added}
    with seeded(0):
        objective = build_objective(MethodOptions.model_validate(method), WIDTH)
        heads, layers = objective.make_heads(), objective.add_on.make_layers((7, CHANNELS))
    draw = make_generator(0, "maps")

    def encoding() -> Encoded:
        features = [torch.randn(IMAGES, WIDTH, generator=draw) for _ in range(2)]
        maps = {
            name: {1: torch.randn(IMAGES, CHANNELS, SIDE, SIDE, generator=draw).requires_grad_()}
            for name in (UPRIGHT, TURNED)
        }
        outputs: dict[str, list[HeadOutput]] = {"ALL": [heads["ALL"](view) for view in features]}
        return Encoded(features, outputs, heads, layers, extra_maps=maps)

    student = encoding()
    teacher = encoding() if baseline == "moco_v2" else student
    term = objective.terms(objective.batch(student, teacher))["ser"]
    assert term.weight == 0.3
    weights = {name: value.detach().double().requires_grad_() for name, value in layers.named_parameters()}

    def doubles(encoded: Encoded) -> dict[str, Tensor]:
        return {name: maps[1].detach().double().requires_grad_() for name, maps in encoded.extra_maps.items()}

    mine = doubles(student)
    theirs = doubles(teacher) if baseline == "moco_v2" else mine
    expected = by_cells(weights, mine, theirs)
    torch.testing.assert_close(term.value.double(), expected, rtol=1e-5, atol=1e-6)
    got = torch.autograd.grad(term.value, [m[1] for m in student.extra_maps.values()] + list(layers.parameters()))
    want = torch.autograd.grad(expected, [*mine.values(), *weights.values()])
    for one, other in zip(got, want, strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-5)


def test_an_equivariant_map_has_the_smallest_loss() -> None:
    maps = torch.randn(16, 6, 3, 3, generator=torch.Generator().manual_seed(0))

    def cells(of: Tensor) -> Tensor:
        return torch.nn.functional.normalize(of.flatten(2).transpose(1, 2), dim=2)

    fitting = cell_contrast(cells(moved(maps)), cells(moved(maps)), 0.05)
    still = cell_contrast(cells(maps), cells(moved(maps)), 0.05)
    assert fitting < 0.1 * still


def test_the_symmetries_of_the_square_take_turns() -> None:
    image = torch.arange(9.0).view(1, 3, 3)
    found = {tuple(one.flatten().tolist()) for one in moved(image.expand(8, -1, -1, -1))}
    assert len(found) == 8


def test_both_copies_have_the_same_crop_and_different_colours() -> None:
    options = AugmentationOptions(name="caug_plus", global_size=16, local_size=8, local_views=0)
    extra = SerOptions().extra_views()
    tables = make_view_maker(options, (0.5,) * 3, (0.2,) * 3, False, extra).draw(
        torch.full((64, 2), 40), make_generator(0)
    )
    upright, turned = tables[-2:]
    for name in ("crop_top", "crop_left", "crop_height", "crop_width"):
        assert torch.equal(upright[name], turned[name])
        assert not torch.equal(upright[name], tables[0][name])
    for table in (upright, turned):
        assert not table["flip"].any()
        assert not table["elastic_applied"].any()
        assert (table["angle"] == 0).all()
    assert not torch.equal(upright["brightness"], turned["brightness"])


@pytest.mark.parametrize("name", ["vmamba_tiny", "pixels"])
def test_backbones_without_maps_are_rejected(name: str) -> None:
    reason = SerOptions().refusal(AugmentationOptions(), BackboneOptions(name=name, image_size=32))
    assert reason is not None
    assert name in reason
    assert Ser.teacher_sees_extra
