"""DINO: its head against a float64 re-derivation, its centre, temperatures, frozen layer and diagnostics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightly.loss import DINOLoss
from pydantic import ValidationError
from torch import Tensor, nn

from clever.baselines import HeadOutput
from clever.baselines.dino import Dino, DinoHead
from clever.baselines.options.dino import DinoOptions

TINY = {"out_dim": 16, "bottleneck_dim": 8, "freeze_last_layer_epochs": 0, "momentum": 0.9}

SMALL = {"out_dim": 40, "hidden_dim": 24, "bottleneck_dim": 12}


def small(**settings: float) -> DinoOptions:
    return DinoOptions.model_validate({**SMALL, **settings})


def seeded_head(width: int, options: DinoOptions) -> DinoHead:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return DinoHead(width, options)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def outputs(count: int, rows: int, width: int, seed: int = 0) -> list[HeadOutput]:
    draw = torch.Generator().manual_seed(seed)
    return [HeadOutput(torch.rand(rows, width, generator=draw) * 2 - 1) for _ in range(count)]


def last_layer(head: nn.Module) -> tuple[nn.Parameter, nn.Parameter]:
    """The last layer's row norms and directions."""
    named = {name.rsplit(".", 1)[-1]: p for name, p in head.named_parameters() if "last_layer" in name}
    return named["original0"], named["original1"]


def test_the_head_s_logits_follow_its_definition() -> None:
    head = seeded_head(9, small())
    features = normal(5, 9)
    x = features.double()
    linear = [layer for layer in head.mlp if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(9, 24), (24, 24), (24, 12)]
    for number, layer in enumerate(linear):
        x = x @ layer.weight.double().T + layer.bias.double()
        if number < 2:
            x = 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
    x = x / x.norm(dim=1, keepdim=True)
    _, direction = last_layer(head)
    direction = direction.detach().double()
    expected = x @ (direction / direction.norm(dim=1, keepdim=True)).T
    output = head(features)
    assert output.prediction is None
    torch.testing.assert_close(output.projection.double(), expected, rtol=1e-4, atol=1e-6)


def test_logits_are_cosines_whatever_the_size_of_the_features() -> None:
    head = seeded_head(9, small())
    nn.init.normal_(last_layer(head)[1], std=30.0)
    logits = head(1e4 * normal(64, 9)).projection
    assert logits.abs().max() <= 1 + 1e-5
    assert logits.abs().max() > 0.5  # and they are not all small
    # A row of the last layer that points along the bottleneck gives exactly 1.
    bottleneck = F.normalize(head.mlp(normal(1, 9)), dim=-1)
    last_layer(head)[1].data[0] = 7 * bottleneck[0]
    assert head(normal(1, 9)).projection[0, 0].item() == pytest.approx(1.0, abs=1e-6)


def test_row_norms_are_one_and_frozen() -> None:
    norms, directions = last_layer(seeded_head(9, small()))
    assert norms.shape == (40, 1)
    assert torch.equal(norms, torch.ones(40, 1))
    assert not norms.requires_grad
    assert directions.requires_grad


def test_initialisation_matches_the_authors() -> None:
    head = seeded_head(300, DinoOptions(out_dim=2000, hidden_dim=400, bottleneck_dim=64))
    for layer in head.mlp:
        if isinstance(layer, nn.Linear):
            # trunc_normal_ truncates at the absolute values -2 and 2, a hundred standard deviations away.
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
            assert abs(layer.weight.mean().item()) < 0.001
            assert not layer.bias.any()
    directions = last_layer(head)[1]
    bound = 1 / math.sqrt(64)  # PyTorch's default: uniform in +-1/sqrt(inputs)
    assert directions.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert directions.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_a_head_of_the_paper_has_the_paper_s_squared_norms() -> None:
    """The authors' IR head for ViT-S: 251, 1678, 209 in the hidden layers, 21846 and 65536 in the last layer."""
    head = seeded_head(307, DinoOptions())
    hidden = [layer.weight.square().sum().item() for layer in head.mlp if isinstance(layer, nn.Linear)]
    norms, directions = last_layer(head)
    assert hidden == pytest.approx([251, 1678, 209], rel=0.01)
    assert directions.square().sum().item() == pytest.approx(21846, rel=0.002)
    assert norms.square().sum().item() == 65536


def test_batch_norm_in_the_head_standardises_both_hidden_layers() -> None:
    options = DinoOptions.model_validate({**SMALL, "batch_norm_in_head": True})
    layers = [type(layer).__name__ for layer in seeded_head(9, options).mlp]
    assert layers == ["Linear", "BatchNorm1d", "GELU", "Linear", "BatchNorm1d", "GELU", "Linear"]
    assert not any(isinstance(layer, nn.BatchNorm1d) for layer in seeded_head(9, small()).mlp)


def test_the_bottleneck_is_normalised_in_float32_under_autocast() -> None:
    head = seeded_head(9, small())
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(normal(5, 9)).projection
    torch.testing.assert_close(logits.float(), head(normal(5, 9)).projection, atol=0.03, rtol=0.05)


def centres(logits: Sequence[Sequence[HeadOutput]], momentum: float) -> Tensor:
    centre = torch.zeros(1, 40, dtype=torch.float64)
    for views in logits:
        mean = torch.cat([view.projection for view in views]).double().mean(0, keepdim=True)
        centre = momentum * centre + (1 - momentum) * mean
    return centre


@pytest.mark.parametrize("momentum", [0.9, 0.5, 0.0])
def test_centre_is_the_moving_average_of_the_teacher_s_mean(momentum: float) -> None:
    dino = Dino(small(centre_momentum=momentum))
    assert not dino.centre.any()
    steps = [outputs(2, 6, 40, seed=step) for step in range(4)]
    for views in steps:
        dino.observe(views)
    torch.testing.assert_close(dino.centre.double(), centres(steps, momentum), rtol=1e-5, atol=1e-7)


def test_centre_is_part_of_the_state_and_takes_bfloat16() -> None:
    dino = Dino(small())
    views = [HeadOutput(view.projection.bfloat16()) for view in outputs(2, 6, 40)]
    dino.observe(views)
    assert dino.centre.dtype == torch.float32
    torch.testing.assert_close(dino.centre.double(), centres([views], 0.9), rtol=1e-5, atol=1e-7)
    other = Dino(small())
    other.load_state_dict(dino.state_dict())
    assert torch.equal(other.centre, dino.centre)


def test_loss_and_centre_follow_lightly_over_several_steps() -> None:
    dino = Dino(small())
    lightly = DINOLoss(output_dim=40, warmup_teacher_temp_epochs=1)
    for step in range(4):
        student, teacher = outputs(5, 6, 40, seed=10 + step), outputs(2, 6, 40, seed=20 + step)
        expected = lightly([t.projection for t in teacher], [s.projection for s in student])
        torch.testing.assert_close(dino.attract(student, teacher), expected, rtol=1e-5, atol=0)
        dino.observe(teacher)
        torch.testing.assert_close(dino.centre, lightly.center.reshape(1, 40), rtol=1e-5, atol=1e-7)


def test_the_centre_enters_both_losses() -> None:
    student, teacher = outputs(3, 6, 40, seed=1), outputs(2, 6, 40, seed=2)
    for name in ("attract", "similarity"):
        dino = Dino(small())
        before = getattr(dino, name)(student, teacher)
        dino.centre += teacher[0].projection[:1]
        assert not torch.isclose(getattr(dino, name)(student, teacher), before, rtol=1e-3)


@pytest.mark.parametrize(
    ("start", "end", "epochs"), [(0.04, 0.04, 0), (0.02, 0.07, 5), (0.02, 0.07, 1), (0.04, 0.07, 2)]
)
def test_teacher_temperature_warms_up_as_the_authors_do(start: float, end: float, epochs: int) -> None:
    dino = Dino(small(warmup_teacher_temperature=start, teacher_temperature=end, warmup_teacher_epochs=epochs))
    authors = np.concatenate([np.linspace(start, end, epochs), np.full(10 - epochs, end)])
    got = []
    for epoch in range(10):
        dino.start_epoch(epoch)
        got.append(dino.teacher_temperature)
    np.testing.assert_allclose(got, authors, rtol=1e-12)


def test_the_loss_uses_the_epoch_s_temperature() -> None:
    student, teacher = outputs(3, 6, 40, seed=1), outputs(2, 6, 40, seed=2)
    dino = Dino(small(warmup_teacher_temperature=0.2, teacher_temperature=0.05, warmup_teacher_epochs=2))
    for epoch, temperature in ((0, 0.2), (1, 0.05)):
        dino.start_epoch(epoch)
        constant = Dino(small(teacher_temperature=temperature))
        for name in ("attract", "similarity"):
            assert torch.equal(getattr(dino, name)(student, teacher), getattr(constant, name)(student, teacher))


def test_frozen_parameters_are_the_last_layer_s_in_the_first_epochs() -> None:
    dino = Dino(small(freeze_last_layer_epochs=2))
    head = dino.make_head(9)
    expected = {id(parameter) for parameter in last_layer(head)}
    for epoch in (0, 1):
        assert {id(parameter) for parameter in dino.frozen_parameters(head, epoch)} == expected
    assert dino.frozen_parameters(head, 2) == []
    assert Dino(small(freeze_last_layer_epochs=0)).frozen_parameters(head, 0) == []


def test_teacher_momentum_follows_the_authors_cosine() -> None:
    dino, total = Dino(small(momentum=0.99)), 37
    authors = 1.0 + 0.5 * (0.99 - 1.0) * (1 + np.cos(np.pi * np.arange(total) / total))
    got = [dino.options.teacher_momentum(iteration / total) for iteration in range(total)]
    np.testing.assert_allclose(got, authors, rtol=1e-14)
    assert dino.options.teacher_momentum(0) == pytest.approx(0.99)
    assert dino.options.teacher_momentum(1) == 1


def test_diagnosis_is_entropy_and_divergence_across_the_global_views() -> None:
    dino = Dino(small())
    student, teacher = outputs(4, 6, 40, seed=1), outputs(2, 6, 40, seed=2)
    dino.observe(teacher)
    got = {name: value.item() for name, value in dino.diagnose(student, teacher).items()}
    q = [F.softmax((t.projection.double() - dino.centre.double()) / 0.04, dim=-1) for t in teacher]
    log_p = [F.log_softmax(s.projection.double() / 0.1, dim=-1) for s in student]
    entropy = sum(-(d * d.log()).sum(-1).mean().item() for d in q) / 2
    divergence = sum((q[a] * (q[a].log() - log_p[1 - a])).sum(-1).mean().item() for a in (0, 1)) / 2
    assert got["teacher_entropy_ratio"] == pytest.approx(entropy / math.log(40), rel=1e-5)
    assert got["teacher_student_divergence"] == pytest.approx(divergence, rel=1e-4)
    assert got["teacher_student_divergence_ratio"] == pytest.approx(divergence / math.log(40), rel=1e-4)


def test_diagnosis_distinguishes_the_two_collapses() -> None:
    flat = [HeadOutput(torch.zeros(6, 40))] * 2
    uniform = Dino(small()).diagnose(flat, flat)
    assert uniform["teacher_entropy_ratio"].item() == pytest.approx(1.0, abs=1e-6)
    assert uniform["teacher_student_divergence_ratio"].item() == pytest.approx(0.0, abs=1e-6)
    peak = [HeadOutput(10 * F.one_hot(torch.full((6,), 3), 40).float())] * 2
    constant = Dino(small()).diagnose(peak, peak)
    assert constant["teacher_entropy_ratio"].item() == pytest.approx(0.0, abs=1e-6)
    assert constant["teacher_student_divergence_ratio"].item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"out_dim": 0},
        {"student_temperature": 0},
        {"teacher_temperature": -0.1},
        {"centre_momentum": 1},
        {"momentum": 1.1},
        {"freeze_last_layer_epochs": -1},
        {"out_dims": 8},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        DinoOptions.model_validate(wrong)
