"""EquiMod: its loss and gradient against plain float64 loops, its negatives, and what it rejects."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clever.augmentation import ExtraView, ParameterSpace, View, chunk_views
from clever.baselines import HeadOutput
from clever.config import parse_study
from clever.data import Store
from clever.equivariance import Encoded, Objective
from clever.equivariance.options.equimod import EquimodOptions
from clever.errors import UserError
from clever.options import parse
from clever.pretraining.composition import build_objective
from clever.pretraining.recipe import MethodOptions, RunRecipe
from clever.pretraining.trainer import Trainer
from clever.randomness import make_generator, seeded

from .encodings import diagnosis_of, terms_of

TINY = {"parameter_dim": 8}

WIDTH, ROWS, TEMPERATURE = 6, 5, 0.3
TINY = {"name": "equimod", "hidden_dim": 9, "out_dim": 4, "parameter_dim": 3, "temperature": TEMPERATURE}
SOURCES: list[dict[str, Any]] = [
    {"source": "unaugmented"},
    {"source": "other_view"},
    {"source": "other_view", "both_directions": True},
]


class Positions(ParameterSpace):
    """Three numbers per view; the relative transformation consists of two other numbers."""

    names = ("x", "y", "z")
    relative_names = ("difference", "product")

    def vector(self, view: View) -> Tensor:
        return view.parameters["position"]

    def relative(self, first: View, second: View) -> Tensor:
        before, after = first.parameters["position"], second.parameters["position"]
        return torch.stack([after[:, 0] - before[:, 0], before[:, 1] * after[:, 2]], 1)


def positions() -> Tensor:
    return torch.randn(2, ROWS, 3, generator=make_generator(0, "positions"))


def views() -> list[View]:
    sizes = torch.full((ROWS, 2), 8)
    return [View(torch.zeros(ROWS, 3, 1, 1), {"position": rows}, "global", sizes) for rows in positions()]


def objective(**settings: Any) -> Objective:
    method = {"baseline": {"name": "simclr", "hidden_dim": 5, "out_dim": 4}, "equivariance": TINY | settings}
    with seeded(3):
        return build_objective(MethodOptions.model_validate(method), WIDTH, Positions())


class Batch:
    """Random features of the un-augmented images and two views, and layers far from their initial values."""

    def __init__(self, built: Objective) -> None:
        generator = make_generator(1, "features")
        self.features = [torch.randn(ROWS, WIDTH, generator=generator).requires_grad_() for _ in range(3)]
        with seeded(4):
            self.heads, self.layers = built.make_heads(), built.add_on.make_layers()
        with torch.no_grad():
            for parameter in self.layers.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        outputs: dict[str, list[HeadOutput]] = {"ALL": [self.heads["ALL"](view) for view in self.features[1:]]}
        self.encoded = Encoded(self.features[1:], outputs, self.heads, self.layers, {"unaugmented": self.features[0]})


# The re-derivation, in float64 and from parameters by name.


def batch_norm(rows: list[Tensor], weight: Tensor | None = None, bias: Tensor | None = None) -> list[Tensor]:
    mean = torch.stack(rows).mean(0)
    variance = torch.stack([(row - mean) ** 2 for row in rows]).mean(0)
    normed = [(row - mean) / torch.sqrt(variance + 1e-5) for row in rows]
    return normed if weight is None or bias is None else [weight * row + bias for row in normed]


def project(layers: dict[str, Tensor], rows: list[Tensor]) -> list[Tensor]:
    for linear, norm in ((0, 1), (3, 4)):
        rows = [layers[f"projector.{linear}.weight"] @ row for row in rows]
        rows = batch_norm(rows, layers[f"projector.{norm}.weight"], layers[f"projector.{norm}.bias"])
        rows = [row.clamp(min=0.0) for row in rows]
    return batch_norm([layers["projector.6.weight"] @ row for row in rows])


def embed(
    layers: dict[str, Tensor], features: list[Tensor], source: str = "unaugmented", both_directions: bool = False
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Embeddings [K] of the sources, the views, and their predictions, one view after the other."""
    first, second = positions().double()
    if source == "unaugmented":
        y = project(layers, [row for view in features for row in view])
        y0, y1, y2 = y[:ROWS], y[ROWS : 2 * ROWS], y[2 * ROWS :]
        start, target, entries = y0 + y0, y1 + y2, [*first, *second]
    else:
        y = project(layers, [row for view in features[1:] for row in view])
        start, target = y[:ROWS], y[ROWS:]
        entries = [torch.stack([v[0] - u[0], u[1] * v[2]]) for u, v in zip(first, second, strict=True)]
        if both_directions:
            start, target = y, y[ROWS:] + y[:ROWS]
            entries += [torch.stack([u[0] - v[0], v[1] * u[2]]) for u, v in zip(first, second, strict=True)]
    moved = [layers["transformation.0.weight"] @ entry for entry in entries]
    moved = batch_norm(moved, layers["transformation.1.weight"], layers["transformation.1.bias"])
    joined = [layers["predictor.0.weight"] @ torch.cat(pair) for pair in zip(start, moved, strict=True)]
    return start, target, batch_norm(joined)


def contrast(target: list[Tensor], predicted: list[Tensor]) -> Tensor:
    """NT-Xent over all 2 M vectors, each with its partner as the positive and all others as negatives."""
    vectors = [row / row.norm() for row in [*target, *predicted]]
    total = torch.zeros((), dtype=torch.float64)
    for i, anchor in enumerate(vectors):
        partner = (i + len(target)) % len(vectors)
        others = [torch.exp(anchor @ v / TEMPERATURE) for j, v in enumerate(vectors) if j != i]
        total = total - torch.log(torch.exp(anchor @ vectors[partner] / TEMPERATURE) / torch.stack(others).sum())
    return total / len(vectors)


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_loss_and_gradient(source: dict[str, Any]) -> None:
    built = objective(**source, equimod_weight=0.6)
    batch = Batch(built)
    terms = terms_of(built, batch.encoded, views())
    assert list(terms) == ["contrast", "equimod"]
    assert (terms["contrast"].weight, terms["equimod"].weight) == (1.0, 0.6)
    parameters = dict(batch.layers.named_parameters())
    doubles = {name: p.detach().double().requires_grad_() for name, p in parameters.items()}
    features = [view.detach().double().requires_grad_() for view in batch.features]
    _, target, predicted = embed(doubles, features, **source)
    value = contrast(target, predicted)
    torch.testing.assert_close(terms["equimod"].value.double(), value, rtol=1e-5, atol=0)
    inputs = {f"features{number}": view for number, view in enumerate(batch.features)} | parameters
    leaves = {f"features{number}": view for number, view in enumerate(features)} | doubles
    if source["source"] == "other_view":
        del inputs["features0"], leaves["features0"]
    got = torch.autograd.grad(terms["equimod"].value, list(inputs.values()))
    want = torch.autograd.grad(value, list(leaves.values()))
    for name, mine, theirs in zip(inputs, got, want, strict=True):
        if name == "transformation.1.bias":  # the predictor's BatchNorm removes a common shift
            assert theirs.abs().max() < 1e-12
            assert mine.abs().max() < 1e-5
            continue
        scale = theirs.abs().max().item()
        assert scale > 1e-4, name
        torch.testing.assert_close(
            mine.double(), theirs, rtol=1e-3, atol=2e-5 * scale, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_gain_and_ratio(source: dict[str, Any]) -> None:
    built = objective(**source)
    batch = Batch(built)
    before = copy.deepcopy(batch.layers.state_dict())
    found = diagnosis_of(built, batch.encoded, views())
    doubles = {name: p.detach().double() for name, p in batch.layers.named_parameters()}
    gains, ratios = [], []
    features = [view.detach().double() for view in batch.features]
    for start, target, predicted in zip(*embed(doubles, features, **source), strict=True):
        stay, move = (target @ other / (target.norm() * other.norm()) for other in (start, predicted))
        gains.append((move - stay).item())
        ratios.append(((1 - stay) / (1 - move)).item())
    assert found["equimod_gain"].item() == pytest.approx(math.fsum(gains) / len(gains), abs=1e-5)
    assert found["equimod_ratio"].item() == pytest.approx(math.fsum(ratios) / len(ratios), rel=1e-4)
    # Diagnosing changes nothing, not even BatchNorm's running statistics.
    assert all(torch.equal(value, before[name]) for name, value in batch.layers.state_dict().items())


def test_a_prediction_of_no_change_has_no_gain() -> None:
    """If the views are the images themselves and are predicted perfectly, the gain is 0 and the ratio is still
    finite."""
    built = objective()
    batch = Batch(built)
    still = {"unaugmented": batch.features[0]}
    batch.encoded = replace(batch.encoded, features=[batch.features[0]] * 2, extra=still)
    with torch.no_grad():
        batch.layers["predictor"][0].weight.copy_(torch.eye(4, 7))  # type: ignore[index]
    found = diagnosis_of(built, batch.encoded, views())
    assert found["equimod_gain"].abs().item() < 1e-6
    assert math.isfinite(found["equimod_ratio"].item())


def test_loss_of_equal_embeddings_in_closed_form() -> None:
    """If all embeddings are equal, the positive is one of 4 N - 1 candidates."""
    built = objective()
    batch = Batch(built)
    ones = torch.ones(ROWS, WIDTH)
    flat = replace(batch.encoded, features=[ones] * 2, extra={"unaugmented": ones})
    # BatchNorm turns constant inputs into zeros; another constant replaces them here.
    for name in ("projector", "predictor"):
        layer = batch.layers[name]
        assert isinstance(layer, nn.Sequential)
        layer[-1] = _Constant(4)
    value = terms_of(built, flat, views())["equimod"].value
    assert value.item() == pytest.approx(math.log(4 * ROWS - 1), rel=1e-5)


class _Constant(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, rows: Tensor) -> Tensor:
        return torch.ones(len(rows), self.width)


def test_the_layers_follow_the_paper() -> None:
    method = {"baseline": {"name": "simclr"}, "equivariance": {"name": "equimod"}}
    built = build_objective(MethodOptions.model_validate(method), 512, Positions())
    with torch.device("meta"):
        layers = built.add_on.make_layers()
    assert {name: tuple(p.shape) for name, p in layers.named_parameters() if p.ndim == 2} == {
        "projector.0.weight": (2048, 512),
        "projector.3.weight": (2048, 2048),
        "projector.6.weight": (128, 2048),
        "transformation.0.weight": (128, 3),
        "predictor.0.weight": (128, 256),
    }
    assert not [
        name for name, layer in layers.named_modules() if isinstance(layer, nn.Linear) and layer.bias is not None
    ]
    norms = {name: layer.affine for name, layer in layers.named_modules() if isinstance(layer, nn.BatchNorm1d)}
    assert norms == {
        "projector.1": True,
        "projector.4": True,
        "projector.7": False,
        "transformation.1": True,
        "predictor.1": False,
    }
    options = EquimodOptions()
    assert (options.temperature, options.equimod_weight) == (0.2, 1.0)
    assert options.extra_views() == (ExtraView("unaugmented"),)
    assert EquimodOptions(source="other_view").extra_views() == ()


def test_parts_of_a_batch_are_contrasted_separately(make_recipe: Any, digits_store: Store) -> None:
    """The loss of an accumulated batch is the mean of the losses of its parts."""
    whole = make_recipe(optimisation={"accumulate": 2}, augmentation={"local_views": 0}).model_dump()
    method = {"baseline": {"name": "simclr", "hidden_dim": 12, "out_dim": 8}, "equivariance": TINY}
    recipe = RunRecipe.model_validate(whole | {"method": method})
    trainer, other = (Trainer(recipe, digits_store.mean, digits_store.std, 6, torch.device("cpu")) for _ in range(2))
    batch = digits_store.split("train").images(range(16))
    found = trainer.compute_gradients(batch, 0)
    values = []
    for part in chunk_views(other.make_views(batch, 0), 2):
        by_name = dict(zip(other.view_maker.names, part, strict=True))
        images = [view.images for view in part if view.kind != "extra"]
        encoded = other.student(images, other.objective.add_on.extra_images(by_name))
        assert len(encoded.extra["unaugmented"]) == 8
        terms = other.objective.terms(other.objective.batch(encoded, encoded, by_name))
        (terms["contrast"].value + terms["equimod"].value).mul(0.5).backward()
        values.append(terms["equimod"].value.item())
    assert found["loss_equimod"].item() == pytest.approx(sum(values) / 2, rel=1e-6)
    gradients = {name: p.grad for name, p in other.student.named_parameters()}
    for name, parameter in trainer.student.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-5, atol=1e-8)


def test_views_without_an_unaugmented_image_need_the_other_view() -> None:
    study: dict[str, Any] = {
        "study": "drawn",
        "data": {"drawn": {"source": "spirograph"}},
        "backbones": {"tiny": {"name": "resnet10t_half", "image_size": 32}},
        "augmentations": {"drawn": {"name": "spirograph"}},
        "methods": {"equimod": {"baseline": {"name": "simclr"}, "equivariance": {"name": "equimod"}}},
        "pretrainings": [
            {"data": "drawn", "backbones": ["tiny"], "methods": ["equimod"], "augmentations": ["drawn"]},
        ],
        "evaluations": {"linear": {}},
    }
    with pytest.raises(UserError, match=r"spirograph has none; set equivariance\.source to other_view"):
        parse_study(study, "study.yaml")
    study["methods"]["equimod"]["equivariance"]["source"] = "other_view"
    assert parse_study(study, "study.yaml").methods["equimod"].equivariance.extra_views() == ()


def test_a_parameter_space_is_required() -> None:
    method = MethodOptions.model_validate({"baseline": {"name": "simclr"}, "equivariance": TINY})
    with pytest.raises(UserError, match="equimod needs augmentation parameters, but this augmentation draws none"):
        build_objective(method, WIDTH)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"both_directions": True}, "both_directions needs source: other_view"),
        ({"source": "teacher"}, "source"),
        ({"temperature": 0.0}, "temperature"),
        ({"parameter_dim": 0}, "parameter_dim"),
    ],
)
def test_bad_options(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(EquimodOptions, {"name": "equimod"} | settings, "study.yaml")
