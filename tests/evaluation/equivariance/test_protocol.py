"""The protocol on features whose equivariance is known: pixels, Fourier magnitudes and steerable moments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from clever.backbones import Backbone
from clever.data import Store
from clever.errors import UserError
from clever.evaluation.equivariance.operations import FIXED, OPERATIONS
from clever.evaluation.equivariance.protocol import evaluate
from clever.evaluation.notes import RecordNote
from clever.evaluation.options.equivariance import EquivarianceOptions

from ..subjects import by_axes, subject_of
from ..toys import SIDE, TwoParts, coloured, store_of
from .test_measures import smooth_images

REHEARSALS = [("resnet10t_half", {"angle_step": 60, "shifts": 2, "penalties": [0.01, 1.0], "random_groups": 1})]
WAITS = {
    "evaluation/equivariance/protocol.py:evaluate": "the records, once",
    "evaluation/equivariance/linear_maps.py:RidgeMaps.__init__": "a decomposition",
    "evaluation/equivariance/similarity.py:_principal": "a decomposition",
    "evaluation/equivariance/similarity.py:mean_canonical_correlation": "a decomposition",
}

FEW: dict[str, Any] = {"angle_step": 45, "shifts": 2, "penalties": [1e-8, 1e-2], "random_groups": 2}


def run(
    backbone: Backbone, store: Store, ir_dim: int | None = None, **options: Any
) -> dict[tuple[str, str, str], float]:
    chosen = EquivarianceOptions.model_validate(FEW | options)
    return by_axes(evaluate(subject_of(backbone, store, ir_dim=ir_dim), chosen))


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return coloured(tmp_path_factory.mktemp("patterns"), 3, noise=120, train=400, test=60)


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Store:
    images = (smooth_images(40, 32) * 255).round().permute(0, 2, 3, 1).numpy().astype(np.uint8)
    labels = np.arange(40, dtype=np.int64) % 2
    return store_of(tmp_path_factory.mktemp("waves"), images[:20], labels[:20], images[20:], labels[20:])


class Pixels(Backbone):
    """The image itself as features."""

    def __init__(self) -> None:
        super().__init__("pixels_of_toys", 3 * SIDE * SIDE)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


class Magnitudes(Backbone):
    """The magnitude of each channel's Fourier transform, which is invariant to shifts and half turns."""

    def __init__(self) -> None:
        super().__init__("magnitudes", 3 * SIDE * SIDE)

    def forward(self, images: Tensor) -> Tensor:
        magnitudes: Tensor = torch.fft.fft2(images).abs()
        return magnitudes.flatten(1)


class Moments(Backbone):
    """[IR | EF] = [radial moments of the grey image | real and imaginary part of its moment of angular order 3]."""

    order = 3

    def __init__(self) -> None:
        super().__init__("moments", 5)

    def forward(self, images: Tensor) -> Tensor:
        ramp = (torch.arange(images.shape[-1]) + 0.5) / images.shape[-1] * 2 - 1
        x, y = ramp, ramp.view(-1, 1)
        radius, angle = (x.square() + y.square()).sqrt(), torch.atan2(-y, x)
        grey = images.mean(1)
        ir = [(grey * torch.exp(-((radius - centre) ** 2) * 30)).mean((1, 2)) for centre in (0.2, 0.4, 0.6)]
        ring = radius**3 * torch.exp(-((radius - 0.5) ** 2) * 20)
        ef = [(grey * ring * wave(self.order * angle)).mean((1, 2)) for wave in (torch.cos, torch.sin)]
        return torch.stack([*ir, *ef], 1)


def test_the_image_itself_is_equivariant(patterns: Store) -> None:
    """Flips and quarter turns permute its entries, so a linear map expresses them, and predicting no change fails."""
    found = run(Pixels(), patterns)
    for name in ("flip", "rotation_90", "rotation_180"):
        assert found["ALL", name, "equivariance_error"] < 1e-6
        assert found["ALL", name, "no_change_error"] > 0.5
        assert found["ALL", name, "equivariance_gain"] > 0.05
    assert found["ALL", "rotation_360", "distance"] == pytest.approx(0.0, abs=1e-6)
    assert found["ALL", "rotation_180", "relative_distance"] > 0.3
    # Both groups of columns come from the same patterns.
    assert found["ALL", "orig", "cka_random"] > 0.8


def test_the_lie_derivative_of_the_image_under_brightness_is_the_image(patterns: Store) -> None:
    found = run(Pixels(), patterns, lie_images=1000, images=1000)
    pixels = patterns.split("test").images(list(range(60))).pixels.double() / 255
    scaled = pixels / torch.tensor(patterns.std).double().view(3, 1, 1)
    expected = scaled.square().sum() / (scaled - scaled.mean(0)).square().sum()
    assert found["ALL", "brightness", "lie"] == pytest.approx(float(expected), rel=1e-3)


def test_fourier_magnitudes_are_invariant_to_shifts_and_half_turns(patterns: Store) -> None:
    found, pixels = run(Magnitudes(), patterns), run(Pixels(), patterns)
    assert found["ALL", "shift", "shift_consistency"] == 100.0
    assert pixels["ALL", "shift", "shift_consistency"] < 90.0
    assert found["ALL", "rotation_180", "distance"] == pytest.approx(0.0, abs=1e-6)
    assert found["ALL", "rotation_180", "no_change_error"] == pytest.approx(0.0, abs=1e-6)
    assert found["ALL", "rotation_180", "equivariance_gain"] == pytest.approx(0.0, abs=1e-3)
    assert pixels["ALL", "rotation_180", "distance"] > 0.1


def test_moments_of_angular_order_3_give_a_cosine_and_radial_moments_a_flat_curve(waves: Store) -> None:
    found = run(Moments(), waves, ir_dim=3, angle_step=15)
    for degrees in range(15, 361, 15):
        expected = 1 - math.cos(math.radians(Moments.order * degrees))
        assert found["EF", f"rotation_{degrees}", "distance"] == pytest.approx(expected, abs=0.03)
        assert found["IR", f"rotation_{degrees}", "distance"] < 1e-3
    curve = [found["EF", f"rotation_{degrees}", "distance"] for degrees in range(15, 360, 15)]
    assert found["EF", "rotation", "distance"] == pytest.approx(np.mean(curve))
    for degrees in (15, 30, 45, 60, 75):
        assert found["EF", f"rotation_{degrees}", "floor"] < 0.02
    assert ("EF", "rotation_90", "floor") not in found
    for name in ("rotation_30", "rotation_90", "rotation_180"):
        assert found["EF", name, "equivariance_error"] < 0.01
    assert found["EF", "rotation_180", "no_change_error"] > 2.0
    mean = np.mean([found["EF", name, "equivariance_error"] for name in ("rotation_30", "rotation_90", "rotation_180")])
    assert found["EF", "rotation", "equivariance_error"] == pytest.approx(mean)
    # d/dt of a moment of order 3 is 3 times its quadrature: 9 |m|^2 over the variance of m.
    assert found["EF", "rotation", "lie"] > 100 * found["IR", "rotation", "lie"]


def test_every_part_and_measure_is_recorded(patterns: Store) -> None:
    found = run(TwoParts(), patterns, ir_dim=8)
    parts = {"ALL", "IR", "EF", "IR_cut"}
    curves = {f"{name}_{s:g}" for name, operation in OPERATIONS.items() for s in operation.strengths} | set(OPERATIONS)
    curves |= {f"rotation_{degrees}" for degrees in range(45, 361, 45)} | {"rotation"}
    expected = {(p, c, m) for p in parts for c in curves for m in ("distance", "relative_distance")}
    expected |= {(p, "rotation_45", "floor") for p in parts}
    maps = ("equivariance_error", "no_change_error", "equivariance_gain")
    expected |= {(p, c, m) for p in parts for c in (*FIXED, "rotation") for m in maps}
    lie = ("translation_x", "translation_y", "rotation", "scale", "shear", "brightness", "saturation")
    expected |= {(p, c, "lie") for p in parts for c in lie}
    expected |= {(p, *rest) for p in parts for rest in (("shift", "shift_consistency"), ("orig", "probe_top1"))}
    expected |= {("ALL", "orig", f"{m}_{g}") for m in ("cka", "cca") for g in ("ir_ef", "random")}
    assert set(found) == expected
    assert found == run(TwoParts(), patterns, ir_dim=8)
    # Cosines and shares of a variance do not depend on the scale.
    scaled = run(TwoParts(scale=7.0), patterns, ir_dim=8)
    assert scaled == pytest.approx(found, rel=1e-3, abs=1e-4)


def test_chunks_and_lower_precision_change_little(patterns: Store) -> None:
    whole = run(TwoParts(), patterns, ir_dim=8)
    assert run(TwoParts(), patterns, ir_dim=8, extraction_batch=17) == pytest.approx(whole, rel=1e-3, abs=1e-4)
    shorter = run(TwoParts(), patterns, ir_dim=8, precision="bf16")
    lie = [key for key in whole if key[2] == "lie"]
    assert [shorter[key] for key in lie] == [whole[key] for key in lie]
    assert shorter != whole


def test_a_part_that_does_not_vary_is_noted_and_left_out(patterns: Store) -> None:
    class DeadFactor(TwoParts):
        def forward(self, images: Tensor) -> Tensor:
            return torch.cat([super().forward(images)[:, :8], torch.zeros(len(images), 4)], 1)

    with pytest.warns(RecordNote, match=r"measures of equivariance are undefined, because features do not vary \(EF"):
        found = run(DeadFactor(), patterns, ir_dim=8)
    assert found["EF", "rotation_45", "distance"] == 0.0
    assert ("EF", "rotation_90", "equivariance_error") not in found
    assert ("ALL", "orig", "cka_ir_ef") not in found
    assert found["ALL", "orig", "cca_ir_ef"] == 0.0
    assert found["IR", "rotation_90", "equivariance_error"] < 1.0


def test_without_labels_no_classifier_is_trained(patterns: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled = run(TwoParts(), patterns)
    monkeypatch.setattr(Store, "labelled", False)
    found = run(TwoParts(), patterns)
    without = {("ALL", "shift", "shift_consistency"), ("ALL", "orig", "probe_top1")}
    assert found == {key: value for key, value in labelled.items() if key not in without}
    assert len(found) == len(labelled) - 2


def test_damaged_features_are_named(patterns: Store) -> None:
    with pytest.raises(UserError, match=r"of 60 test images \(unchanged\) are not finite|of 400 train images"):
        run(TwoParts(scale=float("nan")), patterns)


@pytest.mark.parametrize("wrong", [{"angle_step": 0}, {"images": 4}, {"penalties": []}, {"averaging": {"count": 2}}])
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EquivarianceOptions.model_validate(wrong)
