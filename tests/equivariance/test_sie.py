"""SIE against a float64 re-derivation from its parameters, against closed forms, and in the trainer."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from clever.augmentation import ParameterSpace, View
from clever.baselines import HeadOutput
from clever.baselines.mlp import ProjectionHead
from clever.data import Batches, Store
from clever.equivariance import Encoded, Heads, Objective
from clever.equivariance.predictor import Predictor, find_predictor
from clever.equivariance.sie import Sie
from clever.errors import UserError
from clever.options import parse
from clever.pretraining.composition import build_objective
from clever.pretraining.recipe import MethodOptions, RunRecipe
from clever.pretraining.trainer import Trainer
from clever.randomness import make_generator, seeded

from .encodings import diagnosis_of, terms_of

TINY = {"hidden_dim": 24, "out_dim": 24}

ROWS, WIDTH = 6, 12
VICREG = {"name": "vicreg", "invariance_weight": 10, "variance_weight": 0, "covariance_weight": 0}


class Quaternions(ParameterSpace):
    """Returns unit vectors of four numbers, whatever the views are."""

    names: tuple[str, ...] = ("x", "y", "z", "w")
    relative_names: tuple[str, ...] = ("x", "y", "z", "w")
    relative_has_unit: ClassVar[bool] = True

    def vector(self, view: View) -> Tensor:
        raise NotImplementedError

    def relative(self, first: View, second: View) -> Tensor:
        draw = make_generator(9, "quaternions")
        return torch.nn.functional.normalize(torch.randn(len(first.images), 4, generator=draw))


class Differences(Quaternions):
    """The same numbers, but declared to be 0 for the identity."""

    relative_has_unit: ClassVar[bool] = False


def two_views(rows: int = ROWS) -> list[View]:
    return [View(torch.zeros(rows, 3, 4, 4), {}, "global", torch.full((rows, 2), 4)) for _ in range(2)]


def objective(baseline: dict[str, Any], space: type[ParameterSpace] = Quaternions, **settings: Any) -> Objective:
    method = MethodOptions.model_validate({"baseline": baseline, "equivariance": {"name": "sie", **settings}})
    built = build_objective(method, WIDTH, space())
    assert isinstance(built.add_on, Sie)
    return built


def make_modules(built: Objective) -> tuple[Heads, nn.ModuleDict]:
    with seeded(3):
        return built.make_heads(), built.add_on.make_layers()


def encode(built: Objective, features: list[Tensor], heads: Heads, layers: nn.ModuleDict) -> Encoded:
    return Encoded(features, {"IR": [heads["IR"](view[:, : built.split.ir_dim]) for view in features]}, heads, layers)


def random_features() -> list[Tensor]:
    draw = make_generator(5, "sie")
    return [torch.randn(ROWS, WIDTH, generator=draw) for _ in range(2)]


# The re-derivation, in float64, with loops where the formula has indices.


def project64(parameters: dict[str, Tensor], prefix: str, x: Tensor) -> Tensor:
    for linear, norm in ((0, 1), (3, 4)):
        x = x @ parameters[f"{prefix}.{linear}.weight"].T
        mean = x.mean(0)
        x = (x - mean) / ((x - mean).square().mean(0) + 1e-5).sqrt()
        x = (x * parameters[f"{prefix}.{norm}.weight"] + parameters[f"{prefix}.{norm}.bias"]).clamp_min(0)
    return x @ parameters[f"{prefix}.6.weight"].T


def covariances64(e: Tensor) -> list[list[Tensor]]:
    centred = [column - column.sum() / len(column) for column in e.unbind(1)]
    return [[(a * b).sum() / (len(e) - 1) for b in centred] for a in centred]


def variance64(e: Tensor) -> Tensor:
    moments = covariances64(e)
    hinges = [(1 - (moments[d][d] + 1e-4).sqrt()).clamp_min(0) for d in range(e.shape[1])]
    return torch.stack(hinges).sum() / e.shape[1]


def covariance64(e: Tensor) -> Tensor:
    moments, width = covariances64(e), e.shape[1]
    squares = [moments[i][j] ** 2 for i in range(width) for j in range(width) if i != j]
    return torch.stack(squares).sum() / width


def sie64(leaves: dict[str, Tensor], ir_dim: int, q: Tensor) -> Tensor:
    """The authors' loss with their settings: lam_s 10, lam_v 10, lam_c 1, gamma 0.45."""
    features = [leaves["features.0"], leaves["features.1"]]
    invariant = [project64(leaves, "IR.projector", x[:, :ir_dim]) for x in features]
    equivariant = [project64(leaves, "predictor.projector", x[:, ir_dim:]) for x in features]
    weight = leaves["predictor.hypernetwork.weight"]
    matrices = [torch.stack([q[n, a] * weight[a] for a in range(4)]).sum(0) for n in range(len(q))]
    predicted = torch.stack([matrix @ e for matrix, e in zip(matrices, equivariant[0], strict=True)])
    whole = [torch.cat(halves, 1) for halves in zip(invariant, equivariant, strict=True)]
    return (
        10 * (invariant[0] - invariant[1]).square().mean()
        + 10 * 0.45 * (predicted - equivariant[1]).square().mean()
        + 10 * (variance64(whole[0]) + variance64(whole[1])) / 2
        + 10 * variance64(predicted) / 2
        + covariance64(whole[0])
        + covariance64(whole[1])
    )


@pytest.mark.parametrize(("ratio", "ir_head", "whole"), [(0.5, 5, 10), (2 / 3, 10, 15)])
def test_on_vicreg_loss_and_gradient_equal_the_authors(ratio: float, ir_head: int, whole: int) -> None:
    """The EF projector's widths are the EF's share of ``whole``: 5 in both cases."""
    settings: dict[str, Any] = {"separation_ratio": ratio, "hidden_dim": whole, "out_dim": whole, "moments_of": "whole"}
    built = objective({**VICREG, "hidden_dim": ir_head, "out_dim": ir_head}, **settings)
    heads, layers = make_modules(built)
    features = [view.requires_grad_() for view in random_features()]
    views = two_views()
    student = encode(built, features, heads, layers)
    terms = terms_of(built, student, views)
    total = torch.stack([term.weight * term.value for term in terms.values()]).sum()

    named = {f"features.{number}": view for number, view in enumerate(features)}
    named |= dict(heads.named_parameters()) | dict(layers.named_parameters())
    leaves = {name: value.detach().double().requires_grad_() for name, value in named.items()}
    assert leaves["predictor.projector.6.weight"].shape == (5, 5)
    expected = sie64(leaves, built.split.ir_dim, Quaternions().relative(views[0], views[1]).double())
    torch.testing.assert_close(total.double(), expected, rtol=1e-5, atol=0)

    got = torch.autograd.grad(total, list(named.values()))
    want = torch.autograd.grad(expected, list(leaves.values()))
    for name, mine, theirs in zip(named, got, want, strict=True):
        scale = theirs.abs().max().item()
        assert scale > 1e-6, name
        torch.testing.assert_close(
            mine.double(), theirs, rtol=1e-3, atol=1e-5 * scale, msg=lambda m, n=name: f"{n}: {m}"
        )


def bare(built: Objective, weight: Tensor) -> nn.ModuleDict:
    """Layers whose projector is the identity and whose matrices are given."""
    layers = built.add_on.make_layers()
    predictor = layers["predictor"]
    assert isinstance(predictor, Predictor)
    predictor.projector = nn.Sequential(nn.Identity())
    predictor.hypernetwork.weight = nn.Parameter(weight)
    return layers


def untouched() -> Heads:
    """An identity head on the IR."""
    return Heads({"IR": ProjectionHead(nn.Sequential(nn.Identity()))})


def white(rows: int, width: int) -> Tensor:
    """[rows, width] with mean 0 and covariance exactly 1."""
    draw = torch.randn(rows, width, generator=make_generator(6, "white"), dtype=torch.float64)
    orthogonal = torch.linalg.qr(torch.cat([torch.ones(rows, 1, dtype=torch.float64), draw], 1)).Q[:, 1:]
    return (orthogonal * (rows - 1) ** 0.5).float()


def terms_of_bare(built: Objective, layers: nn.ModuleDict, first: Tensor, second: Tensor) -> dict[str, float]:
    ir = built.split.ir_dim
    outputs = {"IR": [HeadOutput(first[:, :ir]), HeadOutput(second[:, :ir])]}
    student = Encoded([first, second], outputs, untouched(), layers)
    terms = terms_of(built, student, two_views(len(first)))
    return {name: term.value.item() for name, term in terms.items()}


@pytest.mark.parametrize("moments_of", ["EF", "whole"])
def test_loss_of_unchanged_white_embeddings_is_zero(moments_of: str) -> None:
    built = objective(VICREG, Differences, moments_of=moments_of, out_dim=WIDTH)
    # The constant's matrix is 1, all others are 0: W(q) is 1 for every q.
    half = built.split.ef_dim
    layers = bare(built, torch.cat([torch.zeros(4, half, half), torch.eye(half).unsqueeze(0)]))
    vectors = white(40, WIDTH)
    for name, value in terms_of_bare(built, layers, vectors, vectors).items():
        assert value == pytest.approx(0, abs=1e-9), name


def test_equal_halves_are_penalised_only_with_moments_of_the_whole() -> None:
    """If e_eq = e_inv is white, the covariance of the whole has identity blocks off the diagonal: 2 D/2 ones over D."""
    weight = torch.zeros(5, 6, 6)
    half = white(40, 6)
    twice = torch.cat([half, half], 1)
    found = {}
    for moments_of in ("EF", "whole"):
        built = objective(VICREG, Differences, moments_of=moments_of, out_dim=WIDTH)
        found[moments_of] = terms_of_bare(built, bare(built, weight), twice, twice)
    assert found["EF"]["covariance"] == pytest.approx(0, abs=1e-9)
    assert found["whole"]["covariance"] == pytest.approx(2 * 1.0, rel=1e-5)  # of two views
    for terms in found.values():
        assert terms["variance"] == pytest.approx(0, abs=1e-9)
        # For a prediction of zeros, the mean square of e' is (N - 1) / N, and no column varies.
        assert terms["equivariance"] == pytest.approx(39 / 40, rel=1e-5)
        assert terms["predicted_variance"] == pytest.approx(1 - 1e-4**0.5, rel=1e-5)


def test_with_moments_of_the_ef_only_contrast_reaches_the_ir() -> None:
    built = objective({"name": "simclr", "hidden_dim": 8, "out_dim": 8}, hidden_dim=16, out_dim=16)
    heads, layers = make_modules(built)
    ir = built.split.ir_dim
    for name in ("contrast", "equivariance", "variance", "predicted_variance", "covariance"):
        features = [view.requires_grad_() for view in random_features()]
        student = encode(built, features, heads, layers)
        terms = terms_of(built, student, two_views())
        assert [*terms] == ["contrast", "equivariance", "variance", "predicted_variance", "covariance"]
        terms[name].value.backward()
        gradient = features[0].grad
        assert gradient is not None
        assert bool(gradient[:, :ir].any()) is (name == "contrast")
        assert bool(gradient[:, ir:].any()) is (name != "contrast")


def test_gains_are_one_for_a_perfect_predictor_and_zero_for_the_identity() -> None:
    built = objective(VICREG, Differences, out_dim=WIDTH)
    half = built.split.ef_dim
    draw = make_generator(8, "sie")
    weight = torch.randn(5, half, half, generator=draw)
    views = two_views()
    q = torch.cat([built.add_on.space.relative(views[0], views[1]), torch.ones(ROWS, 1)], 1)
    features = random_features()
    moved = torch.einsum("na,aij,nj->ni", q, weight, features[0][:, half:])
    perfect = Encoded([features[0], torch.cat([features[1][:, :half], moved], 1)], {}, layers=bare(built, weight))
    gains = diagnosis_of(built, perfect, views)
    assert gains["prediction_gain"].item() == pytest.approx(1, abs=1e-6)
    assert gains["transformation_gain"].item() == pytest.approx(1, abs=1e-6)
    assert gains["ef_embedding_deviation"].item() == pytest.approx(features[0][:, half:].std(0).mean().item())
    unit = torch.cat([torch.zeros(4, half, half), torch.eye(half).unsqueeze(0)])
    for name in ("prediction_gain", "transformation_gain"):
        assert diagnosis_of(built, Encoded(features, {}, layers=bare(built, unit)), views)[name].item() == 0


def test_a_linear_transformation_is_learned() -> None:
    """With e' = sum q_a A_a e and the prediction error as the only term, the prediction is much better than both
    references."""
    built = objective(VICREG, out_dim=WIDTH)
    half, rows = built.split.ef_dim, 64
    views, draw = two_views(rows), make_generator(10, "sie")
    features = [torch.randn(rows, WIDTH, generator=draw) for _ in range(2)]
    motion = torch.randn(4, half, half, generator=draw)
    q = built.add_on.space.relative(views[0], views[1])
    features[1][:, half:] = torch.einsum("na,aij,nj->ni", q, motion, features[0][:, half:])
    layers = bare(built, torch.randn(4, half, half, generator=draw))
    student = Encoded(features, {"IR": [HeadOutput(view[:, :half]) for view in features]}, untouched(), layers)
    before = diagnosis_of(built, student, views)
    optimiser = torch.optim.Adam(layers.parameters(), lr=0.1)
    for _ in range(60):
        optimiser.zero_grad()
        terms_of(built, student, views)["equivariance"].value.backward()
        optimiser.step()
    after = diagnosis_of(built, student, views)
    for name in ("prediction_gain", "transformation_gain"):
        assert before[name] < 0.5, name
        assert after[name] > 0.95, name


def test_diagnosing_changes_no_running_statistics() -> None:
    built = objective(VICREG, hidden_dim=8, out_dim=8)
    layers = built.add_on.make_layers()
    before = copy.deepcopy(layers.state_dict())
    diagnosis_of(built, Encoded(random_features(), {}, layers=layers), two_views())
    assert all(torch.equal(value, before[name]) for name, value in layers.state_dict().items())
    assert layers["predictor"].training


# Whole steps.

SMALL = {"name": "sie", "hidden_dim": 16, "out_dim": 8}
BASELINES: dict[str, dict[str, Any]] = {
    "vicreg": {"hidden_dim": 8, "out_dim": 8},
    "simclr": {"hidden_dim": 8, "out_dim": 8},
    "simsiam": {"hidden_dim": 8, "out_dim": 8, "predictor_dim": 4},
    "dino": {"hidden_dim": 8, "bottleneck_dim": 4, "out_dim": 16},
}


def trainer_for(name: str, make_recipe: Any, store: Store, **settings: Any) -> Trainer:
    local = {"local_views": 2 if name == "dino" else 0}
    whole = make_recipe(augmentation=local, optimisation={"learning_rate": 0.05}).model_dump()
    method = {"baseline": {"name": name, **BASELINES[name]}, "equivariance": SMALL | settings}
    recipe = RunRecipe.model_validate(whole | {"method": method})
    return Trainer(recipe, store.mean, store.std, 6, torch.device("cpu"))


def train(trainer: Trainer, store: Store, steps: range) -> list[dict[str, float]]:
    batch = next(iter(Batches(store.split("train"), 16, seed=0, device="cpu").epoch(0)))
    return [{name: value.item() for name, value in trainer.step(batch, step).items()} for step in steps]


@pytest.mark.parametrize("moments_of", ["EF", "whole"])
@pytest.mark.parametrize("name", BASELINES)
def test_it_trains_on_any_baseline(name: str, moments_of: str, make_recipe: Any, digits_store: Store) -> None:
    trainer = trainer_for(name, make_recipe, digits_store, moments_of=moments_of)
    before = copy.deepcopy(trainer.student.layers.state_dict())
    assert all(value == value for step in train(trainer, digits_store, range(2)) for value in step.values())
    after = trainer.student.layers.state_dict()
    assert all(not torch.equal(value, after[key]) for key, value in before.items())
    values = trainer.diagnose()
    for key in ("effective_rank_ir", "effective_rank_ef", "prediction_gain", "transformation_gain"):
        assert torch.isfinite(torch.tensor(values[key])), key
    # A momentum teacher has none of these layers; there is one matrix more than the parameter space has columns.
    assert trainer.teacher is None or not [*trainer.teacher.layers.parameters()]
    predictor = find_predictor(trainer.student.layers)
    assert predictor is not None
    assert len(predictor.hypernetwork.weight) == len(trainer.view_maker.space.relative_names) + 1


def test_a_resumed_run_continues_with_the_same_bits(make_recipe: Any, digits_store: Store) -> None:
    straight, first, second = (trainer_for("vicreg", make_recipe, digits_store) for _ in range(3))
    expected = train(straight, digits_store, range(4))
    train(first, digits_store, range(2))
    first.diagnose()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert train(second, digits_store, range(2, 4)) == expected[2:]
    for name, value in straight.student.state_dict().items():
        assert torch.equal(second.student.state_dict()[name], value), name


@pytest.mark.parametrize("ratio", [0, 1, -0.5])
def test_a_ratio_outside_the_open_interval_is_refused(ratio: float) -> None:
    content = {"baseline": {"name": "simclr"}, "equivariance": {"name": "sie", "separation_ratio": ratio}}
    with pytest.raises(UserError, match=r"study: equivariance\.separation_ratio: input should be (greater|less) than"):
        parse(MethodOptions, content, "study")


def test_a_ratio_that_leaves_a_part_empty_is_refused() -> None:
    with pytest.raises(UserError, match=r"0\.05 splits 12 features into 0 and 12"):
        objective(VICREG, separation_ratio=0.05)


def test_a_single_image_has_no_variance() -> None:
    built = objective({**VICREG, "hidden_dim": 8, "out_dim": 8})
    heads, layers = make_modules(built)
    features = [view[:1] for view in random_features()]
    student = encode(built, features, heads.eval(), layers)
    with pytest.raises(UserError, match="sie needs at least 2 images in a batch"):
        terms_of(built, student, two_views(1))


def test_the_views_parameters_are_required() -> None:
    method = MethodOptions.model_validate({"baseline": {"name": "simclr"}, "equivariance": {"name": "sie"}})
    with pytest.raises(UserError, match="sie needs augmentation parameters, but this augmentation draws none"):
        build_objective(method, WIDTH)
