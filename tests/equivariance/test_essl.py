"""E-SSL: its groups pixel by pixel, its loss and gradient against plain float64 loops, and what it rejects."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as tvf
from torch import Tensor, nn

from clever.augmentation import AugmentationOptions, ExtraView, View
from clever.augmentation.views import Normalisation
from clever.backbones import BackboneOptions
from clever.baselines import HeadOutput
from clever.equivariance import Encoded, Objective
from clever.equivariance.options.essl import EsslOptions, GroupName
from clever.equivariance.transformations import CLASSES, GROUPS
from clever.errors import UserError
from clever.options import parse
from clever.pretraining.composition import build_objective
from clever.pretraining.recipe import MethodOptions
from clever.randomness import make_generator, seeded

from .encodings import terms_of

TINY = {"crop_size": 8}

WIDTH, ROWS = 6, 5
NORMALISATION: Normalisation = ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
TINY = {"name": "essl", "crop_size": 4, "hidden_dims": (7, 8)}
BACKBONE = BackboneOptions(name="resnet10t_half", image_size=32)


def pixels(rows: int = 3, size: int = 4) -> Tensor:
    return torch.rand(rows, 3, size, size, generator=make_generator(0, "pixels"))


def normalised(images: Tensor) -> Tensor:
    result: Tensor = tvf.normalize(images, list(NORMALISATION[0]), list(NORMALISATION[1]))
    return result


def expected(group: GroupName, image: Tensor) -> list[Tensor]:
    """The members of a group of one image [3, S, S] in [0, 1], by numpy and torchvision."""
    array, half = image.numpy(), image.shape[1] // 2
    match group:
        case "rotation":
            members = [np.rot90(array, k, axes=(1, 2)) for k in range(4)]
        case "horizontal_flip":
            return [image, tvf.hflip(image)]
        case "vertical_flip":
            return [image, tvf.vflip(image)]
        case "translation":
            moved = np.concatenate([array[:, half:], array[:, :half]], 1)
            members = [array, moved]
            members += [np.concatenate([rows[:, :, half:], rows[:, :, :half]], 2) for rows in (array, moved)]
        case "grayscale":
            return [image, tvf.rgb_to_grayscale(image, 3)]
        case "colour_inversion":
            return [image, tvf.invert(image)]
    return [torch.from_numpy(np.ascontiguousarray(member)) for member in members]


@pytest.mark.parametrize("group", GROUPS)
def test_the_members_of_each_group(group: GroupName) -> None:
    images = pixels()
    members = GROUPS[group](normalised(images), NORMALISATION)
    assert len(members) == CLASSES[group]
    for row, image in enumerate(images):
        for member, mine in zip(expected(group, image), members, strict=True):
            # The same pixels, except for computed colours.
            atol = 2e-6 if group in ("grayscale", "colour_inversion") else 0
            torch.testing.assert_close(mine[row], normalised(member), rtol=0, atol=atol)
    assert all(not torch.equal(members[0], other) for other in members[1:])


def objective(**settings: Any) -> Objective:
    method = {"baseline": {"name": "simclr", "hidden_dim": 5, "out_dim": 4}, "equivariance": TINY | settings}
    with seeded(3):
        return build_objective(MethodOptions.model_validate(method), WIDTH)


def crop(images: Tensor) -> View:
    return View(images, {}, "extra", torch.full((len(images), 2), 32), normalisation=NORMALISATION)


class Batch:
    """Random features, and layers whose parameters are all far from their initial values."""

    def __init__(self, built: Objective, classes: int) -> None:
        generator = make_generator(1, "features")
        self.views = [torch.randn(ROWS, WIDTH, generator=generator) for _ in range(2)]
        self.extra = torch.randn(classes * ROWS, WIDTH, generator=generator).requires_grad_()
        with seeded(4):
            self.heads, self.layers = built.make_heads(), built.add_on.make_layers()
        with torch.no_grad():
            for parameter in self.layers.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        outputs: dict[str, list[HeadOutput]] = {"ALL": [self.heads["ALL"](view) for view in self.views]}
        self.encoded = Encoded(self.views, outputs, self.heads, self.layers, {"transformed": self.extra})


def reference(layers: dict[str, Tensor], features: Tensor, classes: int, relu_before_output: bool) -> Tensor:
    """-log p(transformation), averaged over all transformed crops, one crop after the other."""
    linear = sorted({name.rsplit(".", 1)[0] for name, p in layers.items() if p.ndim == 2})
    norms = sorted({name.rsplit(".", 1)[0] for name in layers} - set(linear))
    total = torch.zeros((), dtype=torch.float64)
    for number, feature in enumerate(features):
        x = feature
        for depth, name in enumerate(linear):
            x = layers[f"{name}.weight"] @ x + layers[f"{name}.bias"]
            if depth < len(norms):
                centred = x - x.mean()
                x = centred / torch.sqrt(centred.square().mean() + 1e-5)
                x = x * layers[f"{norms[depth]}.weight"] + layers[f"{norms[depth]}.bias"]
                if depth < len(norms) - 1 or relu_before_output:
                    x = x.clamp(min=0.0)
        true = number // (len(features) // classes)
        total = total - x[true] + torch.log(torch.exp(x).sum())
    return total / len(features)


@pytest.mark.parametrize("relu_before_output", [True, False])
@pytest.mark.parametrize("group", ["rotation", "grayscale"])
def test_loss_and_gradient(group: GroupName, relu_before_output: bool) -> None:
    built = objective(transformations=group, relu_before_output=relu_before_output, essl_weight=0.7)
    batch = Batch(built, CLASSES[group])
    terms = terms_of(built, batch.encoded)
    assert list(terms) == ["contrast", "essl"]
    assert (terms["contrast"].weight, terms["essl"].weight) == (1.0, 0.7)
    parameters = dict(batch.layers.named_parameters())
    doubles = {name: p.detach().double().requires_grad_() for name, p in parameters.items()}
    features = batch.extra.detach().double().requires_grad_()
    value = reference(doubles, features, CLASSES[group], relu_before_output)
    torch.testing.assert_close(terms["essl"].value.double(), value, rtol=1e-6, atol=0)
    got = torch.autograd.grad(terms["essl"].value, [batch.extra, *parameters.values()])
    want = torch.autograd.grad(value, [features, *doubles.values()])
    for name, mine, theirs in zip(["features", *parameters], got, want, strict=True):
        scale = theirs.abs().max().item()
        assert scale > 1e-6, name
        torch.testing.assert_close(
            mine.double(), theirs, rtol=1e-4, atol=1e-6 * scale, msg=lambda m, n=name: f"{n} {m}"
        )


def test_the_classes_match_the_images() -> None:
    """A backbone and a head recognise each member of the group exactly, so the prediction is always right."""
    built = objective(transformations="translation", hidden_dims=(4,))
    images = torch.zeros(ROWS, 3, 4, 4)
    images[:, :, 0, 0] = 1.0  # one bright corner, which the translations move to four places
    transformed = built.add_on.extra_images({"global_1": crop(pixels()), "small_crop": crop(images)})["transformed"]
    assert transformed.shape == (4 * ROWS, 3, 4, 4)
    features = torch.stack([transformed[:, 0, row, column] for column in (0, 2) for row in (0, 2)], 1)
    layers = nn.ModuleDict({"head": nn.Linear(4, 4, bias=False)})
    nn.init.eye_(layers["head"].weight)  # type: ignore[arg-type]
    encoded = Encoded([], {}, layers=layers, extra={"transformed": 10 * features})
    assert built.add_on.diagnose(built.batch(encoded, encoded))["essl_accuracy"].item() == 1.0
    half_wrong = torch.cat([features[: 2 * ROWS], features[: 2 * ROWS]])
    wrong = Encoded([], {}, layers=layers, extra={"transformed": half_wrong})
    assert built.add_on.diagnose(built.batch(wrong, wrong))["essl_accuracy"].item() == 0.5


def test_loss_of_a_constant_head_is_the_logarithm_of_the_number_of_classes() -> None:
    built = objective()
    batch = Batch(built, 4)
    nn.init.zeros_(batch.layers["head"][-1].weight)  # type: ignore[index]
    nn.init.zeros_(batch.layers["head"][-1].bias)  # type: ignore[index]
    value = terms_of(built, batch.encoded)["essl"].value
    assert value.item() == pytest.approx(math.log(4), rel=1e-6)


def test_the_head_and_the_crop_follow_the_paper() -> None:
    options = EsslOptions()
    assert options.extra_views() == (ExtraView("small_crop", size=16, scale=(0.2, 1.0)),)
    method = {"baseline": {"name": "simclr"}, "equivariance": {"name": "essl"}}
    built = build_objective(MethodOptions.model_validate(method), 512)
    with torch.device("meta"):
        layers = built.add_on.make_layers()["head"]
    assert isinstance(layers, nn.Sequential)
    shapes = [tuple(layer.weight.shape) for layer in layers if isinstance(layer, nn.Linear | nn.LayerNorm)]
    assert shapes == [(2048, 512), (2048,), (2048, 2048), (2048,), (4, 2048)]
    names = [type(layer).__name__ for layer in layers]
    assert names == ["Linear", "LayerNorm", "ReLU", "Linear", "LayerNorm", "ReLU", "Linear"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop_scale": (0.9, 0.2)}, r"crop_scale must be \[smaller, larger\], not \[0\.9, 0\.2\]"),
        ({"transformations": "translation", "crop_size": 15}, "crop_size must be even, not 15"),
        ({"transformations": "jigsaw"}, "transformations"),
        ({"hidden_dims": []}, "hidden_dims"),
        ({"essl_weight": -1.0}, "essl_weight"),
    ],
)
def test_bad_options(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(EsslOptions, {"name": "essl"} | settings, "study.yaml")


@pytest.mark.parametrize(
    ("group", "key"), [("horizontal_flip", "flip_probability"), ("grayscale", "grayscale_probability")]
)
def test_a_group_that_the_augmentation_already_applies_is_rejected(group: str, key: str) -> None:
    options = EsslOptions.model_validate({"transformations": group})
    reason = options.refusal(AugmentationOptions(), BACKBONE)
    assert reason is not None
    assert f"set the augmentation's {key} to 0" in reason
    assert options.refusal(AugmentationOptions.model_validate({key: 0.0}), BACKBONE) is None
    assert EsslOptions().refusal(AugmentationOptions(), BACKBONE) is None
