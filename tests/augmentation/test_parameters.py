"""The parameters of augmentations as vectors: EquiMod's constants, fresh draws, and omitted constant entries."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from clever.augmentation import AugmentationOptions, View, parameter_space
from clever.augmentation.augmentation import distributions
from clever.augmentation.parameters import SAMPLES
from clever.augmentation.sample import Table, draw_uniforms, make_table
from clever.randomness import make_generator

SIZE = 32

CIFAR = AugmentationOptions(
    name="baug",
    global_size=SIZE,
    local_size=16,
    local_views=0,
    global_scale=(0.2, 1.0),
    saturation=0.4,
    blur_probability_global_1=0.0,
    blur_probability_global_2=0.0,
    solarise_probability=0.0,
)
"""SimCLR's augmentation on CIFAR-10, as EquiMod trains with it."""

EQUIMOD: dict[str, tuple[float, float]] = {
    "crop_top": (4.3122, 3.9740),
    "crop_left": (4.3216, 3.9851),
    "crop_height": (23.369, 4.9544),
    "crop_width": (23.374, 4.9539),
    "flip": (0.49998, 0.5),
    "jitter_applied": (0.80087, 0.3993),
    "jitter_order_1": (1.2025, 1.1651),
    "jitter_order_2": (1.4007, 1.0210),
    "jitter_order_3": (1.5964, 1.0200),
    "jitter_order_4": (1.8004, 1.1669),
    "brightness": (0.99993, 0.2066),
    "contrast": (1.0002, 0.2068),
    "saturation": (0.99986, 0.2066),
    "hue": (2.2321e-07, 0.0517),
    "grayscale": (0.19965, 0.3997),
}
"""Mean and standard deviation of each entry, with crops in pixels: the constants in ADevillers/EquiMod, branch
SimCLR+EquiMod, src/main.py, in the order of its vector."""


def view_of(table: Table, size: int = SIZE) -> View:
    rows = len(table["flip"])
    return View(torch.zeros(rows, 3, 1, 1), table, "global", torch.full((rows, 2), size))


def fresh(options: AugmentationOptions, view: int, rows: int, purpose: str) -> View:
    size = options.global_size
    uniforms = draw_uniforms(rows, make_generator(7, purpose, view))
    return view_of(make_table(uniforms, torch.full((rows, 2), size), distributions(options, view)), size)


def constants(options: AugmentationOptions) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each entry, computed from the vectors of two tables: all columns 0, and all 1."""
    space = parameter_space(options)
    table = {name: torch.zeros_like(column) for name, column in fresh(options, 0, 1, "any").parameters.items()}
    zero, one = (space.vector(view_of({n: c + k for n, c in table.items()})).double() for k in (0, 1))
    slope = (one - zero).flatten()
    means = -zero.flatten() / slope
    pairs = zip(means.tolist(), slope.reciprocal().tolist(), strict=True)
    return dict(zip(space.names, pairs, strict=True))


def test_the_constants_equal_equimod_s() -> None:
    found = constants(CIFAR)
    assert list(found) == list(EQUIMOD)
    for name, (mean, deviation) in EQUIMOD.items():
        # Both are sampled, ours from 2 x 16384 rows: allow four standard errors and a rounding error in the last given
        # digit.
        error = 4 * deviation / math.sqrt(2 * SAMPLES) + 1e-4
        assert found[name][0] == pytest.approx(mean, abs=error), name
        assert found[name][1] == pytest.approx(deviation, abs=error), name


@pytest.mark.parametrize("name", ["baug", "caug", "caug_plus"])
def test_fresh_draws_have_mean_0_and_deviation_1(name: str) -> None:
    options = CIFAR.model_copy(
        update={
            "name": name,
            "blur_probability_global_1": 0.6,
            "blur_probability_global_2": 0.1,
            "solarise_probability": 0.2,
            "elastic_probability": 0.3,
        }
    )
    space = parameter_space(options)
    rows = 8000
    views = [fresh(options, view, rows, "fresh") for view in (0, 1)]
    vectors = torch.cat([space.vector(view) for view in views])
    assert vectors.dtype == torch.float32
    assert vectors.shape == (2 * rows, len(space.names))
    # Five standard errors of a mean, and of a variance for a kurtosis of 9: solarisation with probability 0.1 has 8.1.
    assert vectors.mean(0).abs().max() < 5 * math.sqrt(1 / (2 * rows) + 1 / (2 * SAMPLES))
    assert (vectors.var(0) - 1).abs().max() < 5 * math.sqrt(8 / (2 * rows) + 8 / (2 * SAMPLES))


def test_names_list_the_parameters_that_the_augmentation_draws() -> None:
    changes: dict[str, dict[str, object]] = {
        "angle": {"name": "caug"},
        "elastic_applied": {"name": "caug_plus", "rotation_degrees": 0.0},
        "solarise_applied": {"solarise_probability": 0.3},
    }
    names = set(parameter_space(CIFAR).names)
    for added, change in changes.items():
        assert set(parameter_space(CIFAR.model_copy(update=change)).names) == names | {added}
    blurred = CIFAR.model_copy(update={"blur_probability_global_2": 0.5, "blur_radius": (0.1, 0.4)})
    assert set(parameter_space(blurred).names) == names | {"blur_applied", "blur_radius"}


def test_constant_parameters_are_left_out() -> None:
    still = {
        "global_size": 30,  # 0.7 times this is not a sum of powers of two
        "global_scale": (0.5, 0.5),
        "crop_ratio": (1.0, 1.0),
        "flip_probability": 1.0,
        "jitter_probability": 0.0,
        "blur_probability_global_1": 1.0,
        "blur_probability_global_2": 1.0,
        "blur_radius": (0.3, 0.3),
        "grayscale_probability": 0.0,
    }
    space = parameter_space(CIFAR.model_copy(update=still))
    assert space.names == ("crop_top", "crop_left")
    assert space.relative_names == space.names


def test_relative_is_the_difference_and_antisymmetric() -> None:
    space = parameter_space(CIFAR)
    assert space.relative_names == space.names
    first, second = (fresh(CIFAR, view, 50, "relative") for view in (0, 1))
    there, back = space.relative(first, second), space.relative(second, first)
    assert torch.equal(there, -back)
    assert not space.relative(first, first).any()
    expected = torch.stack([raw(second)[name] - raw(first)[name] for name in EQUIMOD], 1)
    deviations = torch.tensor([constants(CIFAR)[name][1] for name in EQUIMOD], dtype=torch.float64)
    torch.testing.assert_close(there.double(), expected / deviations, rtol=1e-4, atol=1e-4)


def raw(view: View) -> dict[str, Tensor]:
    """The entries as in the tables, with crops in pixels."""
    table = {name: column.double() for name, column in view.parameters.items()}
    orders = table.pop("jitter_order").unbind(1)
    return table | {f"jitter_order_{place}": order for place, order in enumerate(orders, start=1)}


def test_crops_are_expressed_as_shares_of_the_image_size() -> None:
    small = fresh(CIFAR, 0, 20, "sizes")
    crops = {name: 3 * column for name, column in small.parameters.items() if name.startswith("crop_")}
    large = replace(small, parameters=small.parameters | crops, sizes=3 * small.sizes)
    space = parameter_space(CIFAR)
    torch.testing.assert_close(space.vector(large), space.vector(small), rtol=0, atol=1e-6)
