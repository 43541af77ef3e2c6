"""The prediction of a view's parameters, on images whose features determine them in closed form."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor

from clever.augmentation.sample import Distributions, draw_uniforms, make_table
from clever.backbones import Backbone
from clever.data import DataOptions, Store, prepare
from clever.errors import UserError
from clever.evaluation.options.parameters import ParametersOptions, ParameterViewOptions
from clever.evaluation.parameters import _parts, evaluate, flip_accuracy, parameter_targets
from clever.randomness import make_generator
from clever.results.records import Record, RunIdentity

from .subjects import subject_of
from .toys import TwoParts, coloured, store_of

REHEARSALS = [("resnet10t_half", {"with_original": True})]
WAITS = {
    "evaluation/parameters.py:evaluate": "features go to the device; scores",
    "evaluation/parameters.py:flip_accuracy": "scikit-learn fits on the host",
    "evaluation/parameters.py:_Views.features.<locals>.view": "which images a batch holds, to take what was drawn",
    "evaluation/regression.py:ridge_selected": "images that are held out",
    "evaluation/regression.py:ridge_selected.<locals>.<listcomp>": "how many rows are fitted",
    "evaluation/regression.py:ridge": "a decomposition",
}

RUN = RunIdentity("toy", "table", "dino+clever", "caug", 0)
SIZE = 16
CROPS = {"name": "baug", "jitter_probability": 0.0, "global_scale": (0.2, 0.6), "interpolation": "bilinear"}


def ramps(folder: Path, offsets: bool = False, train: int = 240, test: int = 120) -> Store:
    """Images whose red rises from left to right; green and blue are constant within an image but differ between images.
    ``offsets`` adds blue to red."""
    draw = np.random.default_rng(0)

    def images(count: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        made = np.zeros((count, SIZE, SIZE, 3))
        blue = draw.integers(0, 120, count)[:, None, None]
        made[..., 0] = np.linspace(0, 120, SIZE) + (blue if offsets else 0)
        made[..., 1] = draw.integers(0, 120, count)[:, None, None]
        made[..., 2] = blue
        return made.round().astype(np.uint8), np.arange(count) % 2

    return store_of(folder, *images(train), *images(test))


class Measures(Backbone):
    """[IR | EF] = [mean green, blue and three powers of blue | mean red, and how much redder the right half is]."""

    def __init__(self) -> None:
        super().__init__("measures", 7)

    def forward(self, images: Tensor) -> Tensor:
        red, green, blue = images.mean((2, 3)).unbind(1)
        half = images.shape[3] // 2
        slope = images[:, 0, :, half:].mean((1, 2)) - images[:, 0, :, :half].mean((1, 2))
        return torch.stack([green, blue, blue**2, blue**3, blue**4, red, slope], 1)


def run(store: Store, backbone: Backbone, ir_dim: int | None = 5, **options: object) -> dict[tuple[str, str], Record]:
    chosen = ParametersOptions.model_validate({"penalties": [1e-6, 1e-2]} | options)
    records = evaluate(subject_of(backbone, store, ir_dim=ir_dim, identity=RUN), chosen)
    found = {(record.part, record.metric): record for record in records}
    assert len(found) == len(records)
    return found


def test_targets_equal_plain_arithmetic() -> None:
    sizes = torch.tensor([[30, 40], [64, 64], [50, 20]])
    drawn = Distributions(
        scale=(0.2, 1.0), ratio=(0.75, 1.4), flip=0.5, degrees=90.0, jitter=1.0, hue=0.1, contrast=0.4
    )
    table = make_table(draw_uniforms(3, make_generator(0)), sizes, drawn)
    found = parameter_targets(table, sizes)
    for row, (height, width) in enumerate(sizes.tolist()):
        top, left, high, wide = (int(table[f"crop_{name}"][row]) for name in ("top", "left", "height", "width"))
        expected = {
            "angle": float(table["angle"][row]),
            "flip": float(table["flip"][row]),
            "crop_x": (left + left + wide) / 2 / width,
            "crop_y": (top + top + high) / 2 / height,
            "crop_area": (high / height) * (wide / width),
            "crop_aspect": math.log(wide) - math.log(high),
            **{name: float(table[name][row]) for name in ("brightness", "contrast", "saturation", "hue")},
        }
        assert {name: float(column[row]) for name, column in found.items()} == pytest.approx(expected)


def test_a_part_predicts_the_parameters_that_its_features_show(tmp_path: Path) -> None:
    """The crop's mean red gives its position in the ramp, and the sign of the slope gives the flip; green and blue give
    neither."""
    records = run(ramps(tmp_path), Measures(), augmentation=CROPS, targets=["flip", "crop_x"])
    assert set(records) == {
        (part, metric) for part in ("ALL", "IR", "EF", "IR_cut") for metric in ("balanced_accuracy_flip", "r2_crop_x")
    }
    for part in ("ALL", "EF"):
        assert records[part, "balanced_accuracy_flip"].value == 100.0
        assert records[part, "r2_crop_x"].value > 0.99
    for part in ("IR", "IR_cut"):
        assert abs(records[part, "balanced_accuracy_flip"].value - 50.0) < 12
        assert abs(records[part, "r2_crop_x"].value) < 0.15
    assert {(r.protocol, r.perturbation, r.n, r.selection, r.epoch) for r in records.values()} == {
        ("parameters", "views", 120, "last", 0)
    }


def test_a_rotated_ramp_shows_the_angle(tmp_path: Path) -> None:
    augmentation = {"name": "caug", "rotation_degrees": 60.0, "flip_probability": 0.0, "jitter_probability": 0.0}
    augmentation |= {"global_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0)}
    records = run(ramps(tmp_path), Vertical(), augmentation=augmentation, targets=["angle"], ir_dim=None)
    assert set(records) == {("ALL", "r2_angle")}
    # The vertical slope follows the sine of the angle, which is linear to within a few percent up to 60 degrees.
    assert 0.9 < records["ALL", "r2_angle"].value < 0.999


class Vertical(Backbone):
    """How much redder the lower half of the image is."""

    def __init__(self) -> None:
        super().__init__("vertical", 1)

    def forward(self, images: Tensor) -> Tensor:
        return (images[:, 0, SIZE // 2 :].mean((1, 2)) - images[:, 0, : SIZE // 2].mean((1, 2)))[:, None]


def test_the_original_helps_where_only_the_change_shows(tmp_path: Path) -> None:
    """The red of every image is raised by a different amount, which only the original image reveals."""
    store = ramps(tmp_path, offsets=True)
    alone = run(store, Red(), augmentation=CROPS, targets=["crop_x"], ir_dim=None)
    paired = run(store, Red(), augmentation=CROPS, targets=["crop_x"], ir_dim=None, with_original=True)
    assert alone["ALL", "r2_crop_x"].value < 0.6
    assert paired["ALL", "r2_crop_x"].value > 0.98


class Red(Backbone):
    """Mean red."""

    def __init__(self) -> None:
        super().__init__("red", 1)

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :1].mean((2, 3))


def test_with_the_original_a_part_uses_its_columns_of_both_images(tmp_path: Path) -> None:
    """The EF, evaluated together with the IR, scores the same as on a backbone whose output is the EF alone."""

    class Factor(Measures):
        def __init__(self) -> None:
            super().__init__()
            self.feature_dim = 2

        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images)[:, 5:]

    store = ramps(tmp_path, offsets=True)
    options = {"augmentation": CROPS, "targets": ["crop_x", "flip", "crop_area"], "with_original": True}
    together = run(store, Measures(), **options)
    alone = run(store, Factor(), ir_dim=None, **options)
    for (_, metric), record in alone.items():
        assert together["EF", metric].value == pytest.approx(record.value, rel=1e-6)


def test_views_add_rows_and_batches_do_not_matter(tmp_path: Path) -> None:
    store = coloured(tmp_path, 4)
    options = {"views": 3, "targets": ["angle", "flip", "hue", "crop_aspect"]}
    records = run(store, TwoParts(), 8, **options)
    assert {record.n for record in records.values()} == {180}
    again = run(store, TwoParts(), 8, **options)
    assert records == again
    for key, record in run(store, TwoParts(), 8, extraction_batch=13, **options).items():
        assert record.value == pytest.approx(records[key].value, rel=1e-4, abs=1e-4)
    options["views"] = 1
    assert run(store, TwoParts(), 8, **options) != records


def test_all_targets_are_predicted_by_default(tmp_path: Path) -> None:
    records = run(coloured(tmp_path, 4), TwoParts(), 8, equal_width=False)
    assert {part for part, _ in records} == {"ALL", "IR", "EF"}
    assert {metric for _, metric in records} == {
        "balanced_accuracy_flip",
        *(f"r2_{name}" for name in ("angle", "crop_x", "crop_y", "crop_area", "crop_aspect")),
        *(f"r2_{name}" for name in ("brightness", "contrast", "saturation", "hue")),
    }


@pytest.mark.parametrize(("ir_dim", "name", "inside"), [(409, "IR", range(409)), (100, "EF", range(100, 512))])
def test_the_wider_part_is_reduced_to_the_width_of_the_other(ir_dim: int, name: str, inside: range) -> None:
    parts = _parts(512, ir_dim, True, 0)
    assert list(parts) == ["ALL", "IR", "EF", f"{name}_cut"]
    columns = torch.arange(512)[parts[f"{name}_cut"]].tolist()
    assert len(set(columns)) == len(columns) == min(ir_dim, 512 - ir_dim)
    assert set(columns) < set(inside)
    # Not just the first ones.
    assert columns[-1] - columns[0] > len(inside) / 2
    assert torch.arange(512)[_parts(512, ir_dim, True, 1)[f"{name}_cut"]].tolist() != columns
    assert list(_parts(512, 256, True, 0)) == list(_parts(512, ir_dim, False, 0)) == ["ALL", "IR", "EF"]
    assert list(_parts(512, None, True, 0)) == ["ALL"]


def test_flip_classification_equals_a_plain_logistic_regression() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = (torch.rand(300, generator=generator) < 0.3).double()
    features = torch.randn(300, 6, generator=generator) + 0.7 * truth[:, None]
    weight, bias = torch.zeros(6, dtype=torch.float64, requires_grad=True), torch.zeros(1, dtype=torch.float64)
    bias.requires_grad_()
    solver = torch.optim.LBFGS([weight, bias], max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        logits = features[:200].double() @ weight + bias
        value = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth[:200])
        value = value + 0.5 * 0.05 * (weight**2).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    predicted = (features[200:].double() @ weight + bias > 0).long()
    expected = 100 * balanced_accuracy_score(truth[200:].long().numpy(), predicted.numpy())
    found = flip_accuracy(features[:200], features[200:], [truth[:200], truth[200:]], 0.05)
    assert found == pytest.approx(expected)
    assert 55 < found < 95


@pytest.mark.parametrize(
    ("augmentation", "targets", "named"),
    [
        ({"name": "baug"}, ["flip", "angle"], "angle"),
        ({"flip_probability": 0.0}, ["flip"], "flip"),
        ({"jitter_probability": 0.0}, ["hue"], "hue"),
        ({"global_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0)}, ["crop_area"], "crop_area"),
    ],
)
def test_a_target_that_the_augmentation_does_not_change_is_named(
    augmentation: dict[str, object], targets: list[str], named: str, tmp_path: Path
) -> None:
    words = (
        rf"toy/table.*: the target {named} is the same in all train views: leave it out of targets, or let augmentation"
    )
    with pytest.raises(UserError, match=words):
        run(coloured(tmp_path, 3), TwoParts(), augmentation=augmentation, targets=targets)


@pytest.mark.parametrize(
    "wrong", [{"targets": []}, {"targets": ["angel"]}, {"targets": ["hue", "hue"]}, {"penalties": [0.0]}, {"views": 0}]
)
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ParametersOptions.model_validate(wrong)


def test_an_augmentation_with_one_changed_option_keeps_the_other_defaults() -> None:
    options = ParametersOptions.model_validate({"augmentation": {"rotation_degrees": 30}})
    assert options.augmentation == ParameterViewOptions(rotation_degrees=30.0)
    assert (
        options.augmentation.name,
        options.augmentation.jitter_probability,
        options.augmentation.grayscale_probability,
    ) == (
        "caug",
        1.0,
        0.0,
    )


def test_photographs_of_several_sizes_are_cropped_separately(tmp_path: Path) -> None:
    """The ramp spans every photograph, whatever its width, so a crop's mean red is its position as a share of the
    width."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 100), ("val", 60)):
        for number in range(count):
            height, width = draw.integers(24, 72, 2)
            pixels = draw.integers(0, 120, (height, width, 3))
            pixels[..., 0] = np.linspace(0, 240, width)
            place = tmp_path / "photographs" / split / f"class{number % 2}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.png")
    source = DataOptions(source="image_folder", root=str(tmp_path / "photographs"), format="encoded")
    store = prepare(source, tmp_path / "store", progress=False)
    records = run(store, Red(), augmentation=CROPS, targets=["crop_x"], ir_dim=None, image_size=SIZE)
    assert records["ALL", "r2_crop_x"].value > 0.99
