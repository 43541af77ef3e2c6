"""CLeVER on DINO against a float64 re-derivation from the networks' parameters, and its wiring."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clever.baselines import HeadOutput
from clever.baselines.dino import Dino
from clever.equivariance import Encoded, Heads, Objective
from clever.equivariance.clever import head_norm_difference
from clever.errors import UserError
from clever.pretraining.composition import build_objective
from clever.pretraining.recipe import MethodOptions

WIDTH, ROWS, VIEWS = 10, 4, 5
BASELINE = {"name": "dino", "out_dim": 16, "hidden_dim": 12, "bottleneck_dim": 6}


def objective(name: str = "clever", feature_dim: int = WIDTH, **settings: Any) -> Objective:
    method = {"baseline": BASELINE, "equivariance": {"name": name, **settings}}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        return build_objective(MethodOptions.model_validate(method), feature_dim)


def heads_of(built: Objective, seed: int) -> Heads:
    """Heads whose parameters are all far from their initial values, so that no term's gradient is negligible."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        heads = built.make_heads()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in heads.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    return heads


class Batch(NamedTuple):
    """Features of all student views and of the teacher's global views, with the heads of both."""

    student: list[Tensor]
    teacher: list[Tensor]
    heads: Heads
    teacher_heads: Heads


def batch_for(built: Objective, width: int = WIDTH) -> Batch:
    draw = torch.Generator().manual_seed(5)
    student = [torch.randn(ROWS, width, generator=draw).requires_grad_() for _ in range(VIEWS)]
    teacher = [torch.randn(ROWS, width, generator=draw).requires_grad_() for _ in range(2)]
    return Batch(student, teacher, heads_of(built, 1), heads_of(built, 2))


def encode(built: Objective, features: list[Tensor], heads: Heads) -> Encoded:
    outputs: dict[str, list[HeadOutput]] = {
        part: [heads[part](view[:, columns]) for view in features] for part, columns in built.parts.items()
    }
    return Encoded(features, outputs, heads)


def run(built: Objective, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
    """The terms before weighting, and their weighted sum."""
    student = encode(built, batch.student, batch.heads)
    teacher = encode(built, batch.teacher, batch.teacher_heads)
    terms = built.terms(built.batch(student, teacher))
    total = torch.stack([term.weight * term.value for term in terms.values()]).sum()
    return {name: term.value for name, term in terms.items()}, total


def parameters_of(batch: Batch) -> dict[str, Tensor]:
    student = {f"features{number}": view for number, view in enumerate(batch.student)}
    return student | {name: p for name, p in batch.heads.named_parameters() if p.requires_grad}


# The re-derivation, in float64 and from parameters by name.


def head64(parameters: dict[str, Tensor], part: str, x: Tensor) -> Tensor:
    for layer in (0, 2, 4):
        x = x @ parameters[f"{part}.mlp.{layer}.weight"].T + parameters[f"{part}.mlp.{layer}.bias"]
        if layer < 4:
            x = 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
    x = x / x.norm(dim=1, keepdim=True)
    direction = parameters[f"{part}.last_layer.parametrizations.weight.original1"]
    return x @ (direction / direction.norm(dim=1, keepdim=True)).T


def doubles(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().double().requires_grad_(p.requires_grad) for name, p in module.named_parameters()}


def reference(batch: Batch, ir: int, centres: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The authors' three terms, and the leaves with respect to which they are differentiated."""
    student, teacher = doubles(batch.heads), doubles(batch.teacher_heads)
    features = [view.detach().double().requires_grad_() for view in batch.student]
    globals_ = [view.detach().double() for view in batch.teacher]
    contrast = torch.zeros((), dtype=torch.float64)
    orthogonality = torch.zeros((), dtype=torch.float64)
    pairs = 0
    for q, t in enumerate(globals_):
        q1 = F.softmax((head64(teacher, "IR", t[:, :ir]) - centres["IR"].double()) / 0.04, -1).detach()
        q2 = F.softmax((head64(teacher, "EF", t[:, ir:]) - centres["EF"].double()) / 0.04, -1).detach()
        for v, s in enumerate(features):
            if v == q:
                continue
            contrast = contrast - (q1 * F.log_softmax(head64(student, "IR", s[:, :ir]) / 0.1, -1)).sum(-1).mean()
            p2 = F.softmax(head64(student, "EF", s[:, ir:]) / 0.1, -1)
            orthogonality = orthogonality + F.cosine_similarity(q2, p2, dim=1).mean().abs()
            pairs += 1
    norms = {
        part: torch.stack([p.square().sum() for name, p in student.items() if name.startswith(f"{part}.")]).sum()
        for part in ("IR", "EF")
    }
    terms = {
        "contrast": contrast / pairs,
        "orthogonality": orthogonality / pairs,
        "head_norm": (norms["IR"] - norms["EF"]).abs(),
    }
    leaves = {f"features{number}": view for number, view in enumerate(features)}
    return terms, leaves | {name: p for name, p in student.items() if p.requires_grad}


@pytest.mark.parametrize("ratio", [0.5, 0.8])
def test_every_term_and_the_gradient_of_their_sum(ratio: float) -> None:
    built = objective(separation_ratio=ratio, orthogonality_weight=0.7, head_norm_weight=0.01)
    batch = batch_for(built)
    # Take one step first, so that both centres are nonzero and different.
    built.observe([encode(built, [2 * view for view in batch.teacher], batch.teacher_heads)])
    centres = {part: built.baseline(part).get_buffer("centre") for part in ("IR", "EF")}
    terms, total = run(built, batch)
    expected, leaves = reference(batch, int(WIDTH * ratio), centres)
    assert list(terms) == ["contrast", "orthogonality", "head_norm"]
    for name, value in terms.items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=0)
    total64 = expected["contrast"] + 0.7 * expected["orthogonality"] + 0.01 * expected["head_norm"]
    torch.testing.assert_close(total.double(), total64, rtol=1e-5, atol=0)
    inputs = parameters_of(batch)
    assert inputs.keys() == leaves.keys()
    got = torch.autograd.grad(total, list(inputs.values()))
    want = torch.autograd.grad(total64, list(leaves.values()))
    for name, mine, theirs in zip(inputs, got, want, strict=True):
        scale = theirs.abs().max().item()
        assert scale > 1e-6, name
        torch.testing.assert_close(
            mine.double(), theirs, rtol=1e-3, atol=1e-5 * scale, msg=lambda m, n=name: f"{n}: {m}"
        )


def reached(built: Objective, batch: Batch, term: str) -> set[str]:
    """The inputs of the batch that a term's gradient reaches: columns of the features by part, and heads by part."""
    terms, _ = run(built, batch)
    terms[term].backward()
    found = set()
    ir = built.split.ir_dim if built.split else WIDTH
    for view in batch.student:
        if view.grad is not None:
            found |= {"IR columns"} if view.grad[:, :ir].any() else set()
            found |= {"EF columns"} if view.grad[:, ir:].any() else set()
    for part, head in batch.heads.items():
        if any(p.grad is not None and p.grad.any() for p in head.parameters()):
            found.add(f"{part} head")
    others = [*batch.teacher, *batch.teacher_heads.parameters()]
    if any(tensor.grad is not None for tensor in others):
        found.add("teacher")
    return found


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("contrast", {"IR columns", "IR head"}),
        ("orthogonality", {"EF columns", "EF head"}),
        ("head_norm", {"IR head", "EF head"}),
    ],
)
def test_each_term_reaches_its_part_and_never_the_teacher(term: str, expected: set[str]) -> None:
    built = objective()
    assert reached(built, batch_for(built), term) == expected


@pytest.mark.parametrize(
    ("feature_dim", "ratio", "ir", "ef"),
    [
        (192, 0.8, 153, 39),
        (384, 0.8, 307, 77),
        (512, 0.8, 409, 103),
        (768, 0.8, 614, 154),
        (2048, 0.8, 1638, 410),
        (192, 0.5, 96, 96),
        (384, 0.6, 230, 154),
        (512, 0.7, 358, 154),
        (768, 0.9, 691, 77),
    ],
)
@pytest.mark.parametrize("name", ["clever", "ddcl"])
def test_parts_match_the_authors(name: str, feature_dim: int, ratio: float, ir: int, ef: int) -> None:
    built = objective(name, feature_dim, separation_ratio=ratio)
    assert built.parts == {"IR": slice(0, ir), "EF": slice(ir, feature_dim)}
    assert built.split is not None
    assert (built.split.ir_dim, built.split.ef_dim) == (ir, ef)
    heads = built.make_heads()
    assert [heads[part].mlp[0].in_features for part in ("IR", "EF")] == [ir, ef]


def test_a_ratio_that_leaves_a_part_empty_is_refused() -> None:
    with pytest.raises(UserError, match=r"0\.05 splits 10 features into 0 and 10"):
        objective(separation_ratio=0.05)


def test_the_two_heads_have_separate_centres() -> None:
    built = objective()
    batch = batch_for(built)
    teacher = encode(built, batch.teacher, batch.teacher_heads)
    built.observe([teacher])
    for part in ("IR", "EF"):
        mean = torch.cat([view.projection for view in teacher.outputs[part]]).mean(0, keepdim=True)
        torch.testing.assert_close(built.baseline(part).get_buffer("centre"), 0.1 * mean)


def test_epochs_reach_both_baselines() -> None:
    method = {
        "baseline": {**BASELINE, "warmup_teacher_temperature": 0.02, "warmup_teacher_epochs": 3},
        "equivariance": {"name": "clever"},
    }
    built = build_objective(MethodOptions.model_validate(method), WIDTH)
    built.start_epoch(1)
    for part in ("IR", "EF"):
        dino = built.baseline(part)
        assert isinstance(dino, Dino)
        assert dino.teacher_temperature == pytest.approx(0.03)


def test_both_last_layers_are_frozen_in_the_first_epoch() -> None:
    built = objective()
    heads = built.make_heads()
    expected = {id(p) for name, p in heads.named_parameters() if "last_layer" in name}
    assert len(expected) == 4
    assert {id(p) for p in built.frozen_parameters(heads, 0)} == expected
    assert built.frozen_parameters(heads, 1) == []


def test_head_norm_s_gradient_is_plus_or_minus_twice_the_parameters() -> None:
    built = objective()
    heads = heads_of(built, 1)
    with torch.no_grad():
        for parameter in heads["EF"].parameters():
            parameter.mul_(3.0 if parameter.requires_grad else 1.0)  # EF is the heavier head
    head_norm_difference([list(heads["IR"].parameters())], [list(heads["EF"].parameters())]).backward()
    for part, sign in (("IR", -2), ("EF", 2)):
        for name, parameter in heads[part].named_parameters():
            if "original0" in name:
                assert parameter.grad is None
            else:
                torch.testing.assert_close(parameter.grad, sign * parameter.detach())


def test_head_norm_averages_over_groups() -> None:
    ir = [[torch.tensor([3.0])], [torch.tensor([1.0, 2.0]), torch.tensor([[2.0]])]]
    ef = [[torch.tensor([1.0])], [torch.tensor([5.0])]]
    # |9 - 1| and |(1 + 4 + 4) - 25|
    assert head_norm_difference(ir, ef).item() == pytest.approx((8 + 16) / 2)


def squared_norms(heads: Heads, part: str, *, last_layer: bool) -> float:
    named = heads[part].named_parameters()
    kept = [p.detach().double() for name, p in named if last_layer or "last_layer" not in name]
    return sum(p.square().sum().item() for p in kept)


@pytest.mark.parametrize("last_layer", [True, False])
def test_heads_of_different_output_width(last_layer: bool) -> None:
    """The authors' option DVR_out_dim; their code crashes on it, because both centres have the same size."""
    built = objective(ef_baseline={"out_dim": 400}, head_norm_last_layer=last_layer)
    batch = batch_for(built)
    assert built.baseline("IR").get_buffer("centre").shape == (1, 16)
    assert built.baseline("EF").get_buffer("centre").shape == (1, 400)
    terms, total = run(built, batch)
    total.backward()
    difference = squared_norms(batch.heads, "IR", last_layer=last_layer) - squared_norms(
        batch.heads, "EF", last_layer=last_layer
    )
    assert terms["head_norm"].item() == pytest.approx(abs(difference), rel=1e-5)
    # The frozen row norms, 400 against 16 ones, make up most of the difference; the hidden layers hardly differ.
    assert (terms["head_norm"].item() > 384) is last_layer


def test_frozen_row_norms_are_counted() -> None:
    built = objective()
    batch = batch_for(built)
    before = run(built, batch)[0]["head_norm"].item()
    sign = (
        1
        if squared_norms(batch.heads, "IR", last_layer=True) > squared_norms(batch.heads, "EF", last_layer=True)
        else -1
    )
    heavier = "IR" if sign > 0 else "EF"
    (row_norms,) = (p for name, p in batch.heads[heavier].named_parameters() if name.endswith("original0"))
    row_norms.data.fill_(2.0)  # 16 rows: 16 ones become 16 fours
    assert run(built, batch)[0]["head_norm"].item() == pytest.approx(before + 48, rel=1e-4)


def test_ddcl_is_clever_without_the_regulariser() -> None:
    ddcl, clever = objective("ddcl", orthogonality_weight=0.3), objective("clever", orthogonality_weight=0.3)
    batch = batch_for(clever)
    with_norm, without = run(clever, batch), run(ddcl, batch)
    assert list(without[0]) == ["contrast", "orthogonality"]
    for name, value in without[0].items():
        assert torch.equal(value, with_norm[0][name])
    expected = without[0]["contrast"] + 0.3 * without[0]["orthogonality"]
    torch.testing.assert_close(without[1], expected)


def test_the_baseline_alone_equals_clever_without_the_ef() -> None:
    """``none`` on a representation as wide as CLeVER's IR has the same value and gradient, and no gradient on the
    EF."""
    clever = objective(separation_ratio=0.8, orthogonality_weight=0.0, head_norm_weight=0.0)
    batch = batch_for(clever)
    _, total = run(clever, batch)
    gradients = torch.autograd.grad(total, batch.student)

    none = objective("none", feature_dim=8)
    assert none.split is None
    assert none.parts == {"ALL": slice(0, 8)}
    narrow = [view.detach()[:, :8].clone().requires_grad_() for view in batch.student]
    alone = Batch(
        narrow,
        [view.detach()[:, :8] for view in batch.teacher],
        nn.ModuleDict({"ALL": batch.heads["IR"]}),
        nn.ModuleDict({"ALL": batch.teacher_heads["IR"]}),
    )
    terms, alone_total = run(none, alone)
    assert list(terms) == ["contrast"]
    torch.testing.assert_close(alone_total, total, rtol=1e-6, atol=0)
    for whole, part in zip(gradients, torch.autograd.grad(alone_total, narrow), strict=True):
        torch.testing.assert_close(whole[:, :8], part)
        assert not whole[:, 8:].any()


def test_the_baseline_alone_has_its_loss_on_the_whole_representation() -> None:
    none = objective("none")
    batch = batch_for(none)
    student = encode(none, batch.student, batch.heads)
    teacher = encode(none, batch.teacher, batch.teacher_heads)
    _, total = run(none, batch)
    assert torch.equal(
        total, none.baseline("ALL").attract(student.outputs["ALL"], teacher.outputs["ALL"], batch.heads["ALL"])
    )
    assert batch.heads["ALL"].mlp[0].in_features == WIDTH


def test_the_head_norm_of_wide_heads_is_exact() -> None:
    """The difference of two sums over 16.8 million squares; the error of a float32 sum exceeds this difference."""
    draw = torch.Generator().manual_seed(0)
    ir = [torch.randn(65536, 256, generator=draw) / 16, torch.randn(65536, generator=draw)]
    ef = [tensor.flip(0) for tensor in ir]
    ef[0][:1, :4] += 0.05
    ef[1][7] += 0.05
    exact = sum(tensor.numpy().astype("float64").__pow__(2).sum() for tensor in ir)
    exact -= sum(tensor.numpy().astype("float64").__pow__(2).sum() for tensor in ef)
    assert head_norm_difference([ir], [ef]).item() == pytest.approx(abs(exact), rel=1e-4)
