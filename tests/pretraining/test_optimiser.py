"""Weight-decay groups, clipping, the optimiser's arithmetic in float64, and the teacher's moving average."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clever.backbones import Backbone, BackboneOptions, DecayRule, build_backbone
from clever.data import Batches, Store
from clever.pretraining.composition import build_objective
from clever.pretraining.network import Network
from clever.pretraining.optimiser import build_optimiser, clip_each, set_schedules, update_teacher, weight_decay_groups
from clever.pretraining.options import OptimisationOptions
from clever.pretraining.recipe import MethodOptions, RunRecipe
from clever.pretraining.trainer import Trainer

RESNET = BackboneOptions(name="resnet10t_half", image_size=16)
VIT = BackboneOptions(name="test_vit", image_size=16, patch_size=8)


class Toy(Backbone):
    """Maps eight pixels to four features, with a matrix, a bias, a gain, and a two-dimensional position embedding."""

    def __init__(self) -> None:
        super().__init__("toy", 4)
        draw = torch.Generator().manual_seed(0)
        self.linear = nn.Linear(8, 4)
        self.gain = nn.Parameter(torch.rand(4, generator=draw))
        self.position = nn.Parameter(torch.rand(1, 4, generator=draw))
        self.register_buffer("seen", torch.zeros(1))
        with torch.no_grad():
            self.linear.weight.copy_(torch.rand(4, 8, generator=draw))
            self.linear.bias.copy_(torch.rand(4, generator=draw))

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.linear(images.flatten(1)) * self.gain + self.position
        return features

    def _undecayed_by_design(self) -> set[str]:
        return {"position"}


def network(backbone: Backbone, equivariance: str = "clever") -> Network:
    method = {
        "baseline": {"name": "dino", "out_dim": 8, "hidden_dim": 8, "bottleneck_dim": 4, "batch_norm_in_head": True},
        "equivariance": {"name": equivariance},
    }
    objective = build_objective(MethodOptions.model_validate(method), backbone.feature_dim)
    return Network(backbone, objective.make_heads(), objective.parts)


def grouped(net: Network, rule: DecayRule) -> tuple[set[str], set[str]]:
    """The names of parameters with weight decay, and without."""
    names = {id(p): name for name, p in net.named_parameters()}
    decayed, free = ([names[id(p)] for p in group["params"]] for group in weight_decay_groups(net, rule))
    assert len(set(decayed)) == len(decayed)
    return set(decayed), set(free)


@pytest.mark.parametrize("options", [RESNET, VIT], ids=lambda options: options.name)
def test_the_authors_groups_go_by_name_and_dimension(options: BackboneOptions) -> None:
    net = network(build_backbone(options, seed=0))
    decayed, free = grouped(net, "authors")
    trainable = {n: p for n, p in net.named_parameters() if p.requires_grad}
    expected_free = {n for n, p in trainable.items() if n.endswith(".bias") or len(p.shape) == 1}
    assert free == expected_free
    assert decayed == set(trainable) - expected_free
    directions = {n for n in trainable if n.endswith("original1")}
    assert len(directions) == 2
    gains = {n for n in trainable if n.startswith("heads.") and n.endswith(".weight") and len(trainable[n].shape) == 1}
    assert len(gains) == 4  # two BatchNorms in each head
    assert gains <= free
    assert directions <= decayed
    row_norms = {n for n, _ in net.named_parameters() if n.endswith("original0")}
    assert not row_norms & (decayed | free)


def test_the_standard_groups_also_spare_a_vit_s_tokens_and_positions() -> None:
    net = network(build_backbone(VIT, seed=0))
    (decayed, free), (authors_decayed, authors_free) = grouped(net, "standard"), grouped(net, "authors")
    moved = free - authors_free
    assert {name.rsplit(".", 1)[-1] for name in moved} == {"cls_token", "pos_embed"}
    assert decayed == authors_decayed - moved


def test_a_convolutional_network_s_groups_are_the_same_under_both_rules() -> None:
    net = network(build_backbone(RESNET, seed=0))
    assert grouped(net, "standard") == grouped(net, "authors")


@pytest.mark.parametrize("options", [RESNET, VIT], ids=lambda options: options.name)
def test_the_rule_all_decays_every_trainable_parameter(options: BackboneOptions) -> None:
    net = network(build_backbone(options, seed=0))
    decayed, free = grouped(net, "all")
    assert decayed == {name for name, p in net.named_parameters() if p.requires_grad}
    assert not free


@pytest.mark.parametrize("largest", [3.0, 0.5])
def test_clipping_equals_torch_s_on_each_tensor(largest: float) -> None:
    draw = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in ((3, 4), (5,), (2, 2, 2), (1,), (7,))]
    for parameter, size in zip(parameters, (10.0, 0.01, 1.0, 2.0, 0.0), strict=True):
        parameter.grad = size * torch.randn(parameter.shape, generator=draw)
    parameters.append(nn.Parameter(torch.zeros(2)))  # frozen in this epoch: without a gradient
    before = [p.grad.clone() for p in parameters[:-1] if p.grad is not None]
    expected = [nn.Parameter(torch.zeros_like(gradient)) for gradient in before]
    for parameter, gradient in zip(expected, before, strict=True):
        parameter.grad = gradient.clone()
        nn.utils.clip_grad_norm_([parameter], largest)
    norm = clip_each(parameters, largest)
    assert norm.item() == pytest.approx(math.sqrt(sum(g.double().square().sum().item() for g in before)), rel=1e-6)
    for mine, theirs, was in zip(parameters[:-1], expected, before, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-6, atol=0)
        if was.norm() < largest * 0.99:
            assert mine.grad is not None
            assert torch.equal(mine.grad, was)
    assert parameters[-1].grad is None
    assert any(not torch.equal(p.grad, g) for p, g in zip(parameters[:-1], before, strict=True) if p.grad is not None)


def test_clipping_can_be_off() -> None:
    parameter = nn.Parameter(torch.zeros(3))
    parameter.grad = torch.tensor([300.0, 0.0, 400.0])
    assert clip_each([parameter], None).item() == pytest.approx(500)
    assert torch.equal(parameter.grad, torch.tensor([300.0, 0.0, 400.0]))


def gradients_at(step: int, shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(100 + step)
    return {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
@pytest.mark.parametrize("rule", ["standard", "authors"])
def test_steps_equal_the_algorithm_in_float64(kind: str, rule: DecayRule) -> None:
    net = network(Toy())
    options = OptimisationOptions.model_validate({"optimiser": kind, "decay_rule": rule, "weight_decay": 0.9})
    optimiser = build_optimiser(net, options)
    free = grouped(net, rule)[1]
    assert ("backbone.position" in free) is (rule == "standard")
    assert {"backbone.gain", "backbone.linear.bias"} <= free
    expected = {name: p.detach().double().clone() for name, p in net.named_parameters()}
    first = {name: torch.zeros_like(p) for name, p in expected.items()}
    second = {name: torch.zeros_like(p) for name, p in expected.items()}
    shapes = {name: p.shape for name, p in net.named_parameters() if p.requires_grad}
    for step in range(5):
        rate, decay = 0.01 * (step + 1), 0.1 + 0.05 * step
        set_schedules(optimiser, rate, decay)
        gradients = gradients_at(step, shapes)
        for name, p in net.named_parameters():
            p.grad = gradients[name].clone() if name in gradients else None
        optimiser.step()
        for name, gradient in gradients.items():
            g, weight_decay = gradient.double(), 0.0 if name in free else decay
            p = expected[name]
            if kind == "sgd":
                first[name] = 0.9 * first[name] + (g + weight_decay * p)
                expected[name] = p - rate * first[name]
                continue
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.999 * second[name] + 0.001 * g * g
            mean, square = first[name] / (1 - 0.9 ** (step + 1)), second[name] / (1 - 0.999 ** (step + 1))
            expected[name] = p * (1 - rate * weight_decay) - rate * mean / (square.sqrt() + 1e-8)
    for name, p in net.named_parameters():
        torch.testing.assert_close(
            p.detach().double(), expected[name], rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


LARS: dict[str, Any] = {"optimiser": "lars", "trust_coefficient": 0.02}


def lars_steps(
    net: Network, options: OptimisationOptions, rates: list[float], decays: list[float], *, fused: bool = False
) -> None:
    """Steps on synthetic gradients, small and large, so that some layers are clipped and others are not. One layer
    starts at zero, and one gradient of step 1 is zero."""
    constant = list(net.heads["IR"].parameters())
    optimiser = build_optimiser(net, options, constant)
    for group in optimiser.param_groups:
        group["foreach"] = fused  # the arithmetic that a GPU uses
    for step, (rate, decay) in enumerate(zip(rates, decays, strict=True)):
        set_schedules(optimiser, rate, decay, constant_rate=2 * rate)
        for name, p in net.named_parameters():
            p.grad = lars_gradient(step, name, p)
        optimiser.step()


def lars_gradient(step: int, name: str, parameter: nn.Parameter) -> Tensor | None:
    if not parameter.requires_grad or (step == 0 and "EF.last_layer" in name):  # frozen in the first step
        return None
    if step == 1 and name == "backbone.linear.weight":
        return torch.zeros_like(parameter)
    draw = torch.Generator().manual_seed(step + sum(map(ord, name)))
    return (0.001 if "mlp.0" in name else 1.0) * torch.randn(parameter.shape, generator=draw)


@pytest.mark.parametrize("clip", [False, True], ids=["plain", "clipped"])
@pytest.mark.parametrize("decays", [[0.9, 0.5, 0.3, 0.1], [0.0, 0.0, 0.0, 0.0]], ids=["decay", "no decay"])
@pytest.mark.parametrize("fused", [False, True], ids=["one by one", "fused"])
def test_lars_equals_the_paper_s_in_float64(clip: bool, decays: list[float], fused: bool) -> None:
    rates = [0.0, 0.3, 0.6, 0.2]  # a warm-up starts at 0, and the clipped trust is divided by the learning rate
    net = network(Toy())
    with torch.no_grad():
        net.get_parameter("heads.EF.mlp.1.weight").zero_()
        net.get_parameter("heads.EF.mlp.0.weight").zero_()
    free = grouped(net, "standard")[1]
    constant = {name for name, _ in net.named_parameters() if name.startswith("heads.IR.")}
    expected = {name: p.detach().double().clone() for name, p in net.named_parameters()}
    velocity: dict[str, Tensor] = {}
    clipped = set()
    for step, (rate, decay) in enumerate(zip(rates, decays, strict=True)):
        for name, p in net.named_parameters():
            gradient = lars_gradient(step, name, p)
            if gradient is None:
                continue
            g, w = gradient.double(), expected[name]
            mine = 2 * rate if name in constant else rate
            if name not in free:
                length, slope = math.sqrt((w * w).sum()), math.sqrt((g * g).sum())
                trust = 0.02 * length / (slope + decay * length + 1e-8) if length > 0 and slope > 0 else 1.0
                if clip:
                    clipped.add(trust < mine)
                    trust = 1.0 if trust >= mine else trust / mine
                g = trust * (g + decay * w)
            velocity[name] = 0.9 * velocity[name] + g if name in velocity else g
            expected[name] = w - mine * velocity[name]
    assert clipped == ({True, False} if clip else set())
    lars_steps(net, OptimisationOptions.model_validate(LARS | {"clip_trust": clip}), rates, decays, fused=fused)
    for name, p in net.named_parameters():
        torch.testing.assert_close(
            p.detach().double(), expected[name], rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_lars_equals_lightly() -> None:
    """Compared with weight decay and without clipping, which lightly does not offer."""
    lightly = pytest.importorskip("lightly.utils.lars", reason="the extra [dev] has lightly")
    mine = network(Toy())
    theirs = copy.deepcopy(mine)
    rates, decays = [0.0, 0.3, 0.6, 0.2], [0.5, 0.4, 0.3, 0.2]
    lars_steps(mine, OptimisationOptions.model_validate(LARS), rates, decays)
    groups = weight_decay_groups(theirs, "standard", theirs.heads["IR"].parameters())
    optimiser = lightly.LARS(groups, lr=0.1, momentum=0.9, weight_decay=0.5, trust_coefficient=0.02)
    for step, (rate, decay) in enumerate(zip(rates, decays, strict=True)):
        set_schedules(optimiser, rate, decay, constant_rate=2 * rate)
        for name, p in theirs.named_parameters():
            p.grad = lars_gradient(step, name, p)
        optimiser.step()
    for (name, p), q in zip(mine.named_parameters(), theirs.parameters(), strict=True):
        if name != "backbone.linear.weight":  # for a zero gradient, lightly omits the weight decay
            torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-7, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("baseline", ["dino", "simsiam"])
def test_lars_resumes_to_the_same_bits(baseline: str, make_recipe: Any, digits_store: Store, tmp_path: Path) -> None:
    """Covers the step in which DINO's last layer is unfrozen, and SimSiam's predictor with its constant learning
    rate."""
    head = {"dino": {"out_dim": 16, "hidden_dim": 16, "bottleneck_dim": 8}}.get(baseline, {"hidden_dim": 16})
    whole = make_recipe(augmentation={"local_views": 0}, optimisation=LARS | {"clip_trust": True, "warmup_epochs": 1})
    method = {"baseline": {"name": baseline} | head, "equivariance": {"name": "clever"}}
    recipe = RunRecipe.model_validate(whole.model_dump() | {"method": method})

    def trainer() -> Trainer:
        return Trainer(recipe, digits_store.mean, digits_store.std, 2, torch.device("cpu"))

    batch = next(iter(Batches(digits_store.split("train"), 16, seed=0, device="cpu").epoch(0)))
    straight = trainer()
    for iteration in range(4):
        straight.step(batch, iteration)
        if iteration == 1:
            torch.save(straight.state_dict(), tmp_path / "state.pt")
    resumed = trainer()
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for iteration in (2, 3):
        resumed.step(batch, iteration)
    for (name, p), q in zip(straight.student.named_parameters(), resumed.student.parameters(), strict=True):
        assert torch.equal(p, q), name
    assert not torch.equal(next(straight.student.parameters()), next(trainer().student.parameters()))


@pytest.mark.parametrize("options", [{"clip_trust": True}, {"optimiser": "sgd", "trust_coefficient": 0.02}])
def test_lars_s_options_are_refused_elsewhere(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="trust_coefficient and clip_trust are lars's"):
        OptimisationOptions.model_validate(options)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.996, 1.0])
def test_the_teacher_is_a_moving_average_and_keeps_its_buffers(momentum: float) -> None:
    student, teacher = network(Toy()), network(Toy())
    with torch.no_grad():
        for number, p in enumerate(student.parameters()):
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(number)))
    student.backbone.get_buffer("seen").fill_(7)
    before = {name: p.detach().double().clone() for name, p in teacher.named_parameters()}
    update_teacher(teacher, student, momentum)
    for (name, mine), theirs in zip(teacher.named_parameters(), student.parameters(), strict=True):
        expected = momentum * before[name] + (1 - momentum) * theirs.detach().double()
        torch.testing.assert_close(mine.detach().double(), expected, rtol=1e-6, atol=1e-7)
    assert teacher.backbone.get_buffer("seen").item() == 0
