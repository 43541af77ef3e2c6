"""AugSelf: its loss and gradient against plain float64 loops, on recipes' and other views, and what it rejects."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from clever.augmentation import AugmentationOptions, ParameterSpace, View, parameter_space
from clever.baselines import HeadOutput
from clever.equivariance import Encoded, Objective
from clever.equivariance.options.augself import AugselfOptions
from clever.errors import UserError
from clever.options import parse
from clever.pretraining.composition import build_objective
from clever.pretraining.recipe import MethodOptions
from clever.randomness import make_generator, seeded

from .encodings import diagnosis_of, terms_of

TINY = {"hidden_dim": 12}

WIDTH, ROWS = 6, 5


class Positions(ParameterSpace):
    """Three numbers per view; the relative transformation is not their difference."""

    names = ("x", "y", "z")
    relative_names = ("ratio", "product")

    def vector(self, view: View) -> Tensor:
        return view.parameters["position"]

    def relative(self, first: View, second: View) -> Tensor:
        (x, y, _), (u, _, w) = (view.parameters["position"].unbind(1) for view in (first, second))
        return torch.stack([u / (1.0 + x.abs()), y * w], 1)


def views() -> list[View]:
    generator = make_generator(0, "positions")
    return [
        View(
            torch.zeros(ROWS, 3, 1, 1),
            {"position": torch.randn(ROWS, 3, generator=generator)},
            "global",
            torch.full((ROWS, 2), 8),
        )
        for _ in range(2)
    ]


def objective(**settings: Any) -> Objective:
    added = {"name": "augself", "hidden_dim": 7} | settings
    method = {"baseline": {"name": "simclr", "hidden_dim": 5, "out_dim": 4}, "equivariance": added}
    with seeded(3):
        return build_objective(MethodOptions.model_validate(method), WIDTH, Positions())


class Batch:
    """Random features, and layers."""

    def __init__(self, built: Objective) -> None:
        generator = make_generator(1, "features")
        self.features = [torch.randn(ROWS, WIDTH, generator=generator).requires_grad_() for _ in range(2)]
        with seeded(4):
            self.heads, self.layers = built.make_heads(), built.add_on.make_layers()
        outputs: dict[str, list[HeadOutput]] = {"ALL": [self.heads["ALL"](view) for view in self.features]}
        self.encoded = Encoded(self.features, outputs, self.heads, self.layers)


def predict(layers: dict[str, Tensor], first: Tensor, second: Tensor) -> Tensor:
    x = torch.cat([first, second])
    for depth in (0, 2, 4):
        x = layers[f"predictor.{depth}.weight"] @ x + layers[f"predictor.{depth}.bias"]
        x = x.clamp(min=0.0) if depth < 4 else x
    return x


def reference(layers: dict[str, Tensor], features: list[Tensor], both_directions: bool) -> Tensor:
    drawn = [view.parameters["position"].double() for view in views()]
    errors = []
    for one, other in [(0, 1), (1, 0)] if both_directions else [(0, 1)]:
        for row in range(ROWS):
            x, u = drawn[one][row], drawn[other][row]
            true = [u[0] / (1 + x[0].abs()), x[1] * u[2]]
            predicted = predict(layers, features[one][row], features[other][row])
            errors += [(predicted[entry] - true[entry]) ** 2 for entry in range(2)]
    return torch.stack(errors).mean()


@pytest.mark.parametrize("both_directions", [False, True])
def test_loss_and_gradient(both_directions: bool) -> None:
    built = objective(both_directions=both_directions, augself_weight=0.3)
    batch = Batch(built)
    terms = terms_of(built, batch.encoded, views())
    assert list(terms) == ["contrast", "augself"]
    assert (terms["contrast"].weight, terms["augself"].weight) == (1.0, 0.3)
    parameters = dict(batch.layers.named_parameters())
    doubles = {name: p.detach().double().requires_grad_() for name, p in parameters.items()}
    features = [view.detach().double().requires_grad_() for view in batch.features]
    value = reference(doubles, features, both_directions)
    torch.testing.assert_close(terms["augself"].value.double(), value, rtol=1e-6, atol=0)
    got = torch.autograd.grad(terms["augself"].value, [*batch.features, *parameters.values()])
    want = torch.autograd.grad(value, [*features, *doubles.values()])
    for name, mine, theirs in zip(["first", "second", *parameters], got, want, strict=True):
        scale = theirs.abs().max().item()
        assert scale > 1e-6, name
        torch.testing.assert_close(
            mine.double(), theirs, rtol=1e-4, atol=1e-6 * scale, msg=lambda m, n=name: f"{n} {m}"
        )


def test_the_share_of_variance_that_is_predicted() -> None:
    built = objective()
    batch = Batch(built)
    drawn = views()
    predicted = torch.stack(
        [
            predict(dict(batch.layers.named_parameters()), first, second)
            for first, second in zip(*batch.features, strict=True)
        ]
    )
    true = Positions().relative(drawn[0], drawn[1])
    unexplained = sum(((predicted - true)[:, entry] ** 2).sum().item() for entry in range(2))
    total = sum(ROWS * true[:, entry].var(correction=0).item() for entry in range(2))
    found = diagnosis_of(built, batch.encoded, drawn)
    assert found["augself_r2"].item() == pytest.approx(1 - unexplained / total, rel=1e-5)
    assert not found["augself_r2"].requires_grad


def test_a_perfect_prediction_and_a_prediction_of_the_mean() -> None:
    built = objective()
    batch = Batch(built)
    drawn = views()
    true = Positions().relative(drawn[0], drawn[1])
    last = batch.layers["predictor"][-1]  # type: ignore[index]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(true.mean(0))
    assert diagnosis_of(built, batch.encoded, drawn)["augself_r2"].item() == pytest.approx(0, abs=1e-6)
    constant = [View(v.images, {"position": torch.ones(ROWS, 3)}, v.kind, v.sizes) for v in drawn]
    with torch.no_grad():
        last.bias.copy_(torch.tensor([0.5, 1.0]))  # 1 / (1 + 1) and 1 * 1
    assert terms_of(built, batch.encoded, constant)["augself"].value.item() == 0


def test_on_a_recipe_it_predicts_the_difference_of_the_parameters() -> None:
    space = parameter_space(AugmentationOptions(global_size=16, local_size=8))
    method = {"baseline": {"name": "simclr"}, "equivariance": {"name": "augself"}}
    built = build_objective(MethodOptions.model_validate(method), WIDTH, space)
    shapes = [tuple(p.shape) for p in built.add_on.make_layers().parameters() if p.ndim == 2]
    # As in SIE's comparison: two hidden layers, each as wide as the two representations together.
    assert shapes == [(2 * WIDTH, 2 * WIDTH), (2 * WIDTH, 2 * WIDTH), (len(space.names), 2 * WIDTH)]


def test_views_without_random_parameters_are_rejected() -> None:
    still = AugmentationOptions.model_validate(
        {
            "name": "baug",
            "global_size": 16,
            "local_size": 8,
            "global_scale": (1.0, 1.0),
            "crop_ratio": (1.0, 1.0),
            "flip_probability": 0.0,
            "jitter_probability": 0.0,
            "grayscale_probability": 0.0,
            "blur_probability_global_1": 0.0,
            "blur_probability_global_2": 0.0,
            "solarise_probability": 0.0,
        }
    )
    method = MethodOptions.model_validate({"baseline": {"name": "simclr"}, "equivariance": {"name": "augself"}})
    with pytest.raises(UserError, match="augself needs augmentation parameters, but this augmentation draws none"):
        build_objective(method, WIDTH, parameter_space(still))


@pytest.mark.parametrize("settings", [{"hidden_dim": 0}, {"augself_weight": -0.5}, {"both": True}])
def test_bad_options(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(settings))):
        parse(AugselfOptions, {"name": "augself"} | settings, "study.yaml")
