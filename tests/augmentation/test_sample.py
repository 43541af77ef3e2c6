"""Drawn parameters against torchvision's get_params: the same distributions, by Kolmogorov-Smirnov tests and counts."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision.transforms import ColorJitter, RandomResizedCrop, RandomRotation

from clever.augmentation.sample import UNIFORMS, Distributions, crop_boxes, draw_uniforms, make_table
from clever.randomness import make_generator

COUNT = 4000
EVERYTHING = Distributions(
    scale=(0.4, 1.0),
    ratio=(3 / 4, 4 / 3),
    flip=0.5,
    degrees=90.0,
    elastic=0.5,
    jitter=0.8,
    brightness=0.4,
    contrast=0.3,
    saturation=0.2,
    hue=0.1,
    grayscale=0.2,
    blur=0.1,
    blur_radius=(0.1, 2.0),
    solarise=0.2,
)


def draw(distributions: Distributions = EVERYTHING, height: int = 120, width: int = 90) -> dict[str, Tensor]:
    sizes = torch.tensor([[height, width]]).expand(COUNT, 2)
    return make_table(draw_uniforms(COUNT, make_generator(0, "sample")), sizes, distributions)


def same_distribution(ours: Tensor, theirs: Tensor) -> bool:
    return bool(stats.ks_2samp(ours.double().numpy(), theirs.double().numpy()).pvalue > 1e-3)


@pytest.mark.parametrize("scale", [(0.4, 1.0), (0.05, 0.4), (0.08, 1.0)])
@pytest.mark.parametrize(("height", "width"), [(120, 90), (32, 32), (40, 300)])
def test_crops_are_distributed_like_torchvision(scale: tuple[float, float], height: int, width: int) -> None:
    ratio = (3 / 4, 4 / 3)
    ours = draw(Distributions(scale=scale, ratio=ratio), height, width)
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    boxes = [RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(COUNT)]
    theirs = torch.tensor(boxes).unbind(1)
    for name, column in zip(("top", "left", "height", "width"), theirs, strict=True):
        assert same_distribution(ours[f"crop_{name}"], column), name
    assert same_distribution(ours["crop_height"] * ours["crop_width"], theirs[2] * theirs[3])
    assert (ours["crop_top"] >= 0).all()
    assert (ours["crop_left"] >= 0).all()
    assert (ours["crop_top"] + ours["crop_height"] <= height).all()
    assert (ours["crop_left"] + ours["crop_width"] <= width).all()


@pytest.mark.parametrize(("height", "width"), [(10, 1000), (1000, 10), (7, 7), (3, 4), (101, 13)])
def test_fallback_equals_torchvision_central_crop(height: int, width: int) -> None:
    """A scale above 1 never fits, so torchvision always falls back."""
    ratio = (3 / 4, 4 / 3)
    boxes = crop_boxes(draw_uniforms(3, make_generator(0)), torch.tensor([[height, width]] * 3), (5.0, 6.0), ratio)
    expected = RandomResizedCrop.get_params(torch.empty(3, height, width), [5.0, 6.0], list(ratio))
    assert [tuple(box) for box in torch.stack(boxes, 1).tolist()] == [expected] * 3


def test_first_candidate_that_fits_is_taken() -> None:
    uniforms = torch.zeros(1, UNIFORMS, dtype=torch.float64)
    uniforms[0, :10] = 0.999
    uniforms[0, 10:20] = 0.999
    uniforms[0, 3], uniforms[0, 13] = 0.5, 0.5
    uniforms[0, 6], uniforms[0, 16] = 0.0, 0.5
    _, _, height, width = crop_boxes(uniforms, torch.tensor([[100, 100]]), (0.36, 1.0), (3 / 4, 4 / 3))
    assert (height.item(), width.item()) == (82, 82)


def test_jitter_is_distributed_like_torchvision() -> None:
    ours = draw()
    torch.manual_seed(0)
    jitter = ColorJitter(0.4, 0.3, 0.2, 0.1)
    drawn = [jitter.get_params(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) for _ in range(COUNT)]
    applied = ours["jitter_applied"]
    for position, name in enumerate(("brightness", "contrast", "saturation", "hue"), start=1):
        theirs = torch.tensor([row[position] for row in drawn])
        assert same_distribution(ours[name][applied], theirs), name
        neutral = 0.0 if name == "hue" else 1.0
        assert (ours[name][~applied] == neutral).all()
    order = ours["jitter_order"]
    assert torch.equal(order.sort(1).values, torch.arange(4).expand(COUNT, 4))
    assert (order[~applied] == torch.arange(4)).all()
    counts = torch.tensor([1000, 100, 10, 1]).mul(order[applied]).sum(1).unique(return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_angles_are_distributed_like_torchvision() -> None:
    torch.manual_seed(0)
    theirs = torch.tensor([RandomRotation.get_params([-90.0, 90.0]) for _ in range(COUNT)])
    assert same_distribution(draw()["angle"], theirs)


def test_probabilities_and_ranges() -> None:
    table = draw()
    for name, wanted in (
        ("flip", 0.5),
        ("elastic_applied", 0.5),
        ("jitter_applied", 0.8),
        ("grayscale", 0.2),
        ("blur_applied", 0.1),
        ("solarise_applied", 0.2),
    ):
        assert table[name].dtype == torch.bool
        assert stats.binomtest(int(table[name].sum()), COUNT, wanted).pvalue > 1e-3, name
    radius = table["blur_radius"]
    assert stats.kstest(radius[table["blur_applied"]].numpy(), "uniform", (0.1, 1.9)).pvalue > 1e-3
    assert (radius[~table["blur_applied"]] == 0).all()
    seed = table["elastic_seed"]
    assert (seed[~table["elastic_applied"]] == 0).all()
    assert stats.kstest(seed[table["elastic_applied"]].double().numpy(), "uniform", (0, 2**31)).pvalue > 1e-3
    assert len(seed.unique()) > 0.99 * table["elastic_applied"].sum()


def test_columns_are_independent() -> None:
    table = draw()
    names = [
        "flip",
        "angle",
        "elastic_applied",
        "jitter_applied",
        "grayscale",
        "blur_applied",
        "solarise_applied",
        "crop_top",
    ]
    correlation = torch.corrcoef(torch.stack([table[name].double() for name in names]))
    assert (correlation - torch.eye(len(names))).abs().max() < 5 / COUNT**0.5


def test_disabled_operations_are_never_drawn() -> None:
    table = draw(Distributions())
    assert not any(table[name].any() for name in table if table[name].dtype == torch.bool)
    assert (table["angle"] == 0).all()
    assert (table["crop_height"] <= 120).all()


def test_a_row_depends_only_on_its_own_numbers() -> None:
    uniforms = draw_uniforms(6, make_generator(0))
    sizes = torch.tensor([[50, 60], [30, 20], [99, 98], [10, 90], [64, 64], [33, 32]])
    table = make_table(uniforms, sizes, EVERYTHING)
    rows = torch.tensor([4, 1])
    few = make_table(uniforms[rows], sizes[rows], EVERYTHING)
    for name, column in table.items():
        assert torch.equal(column[rows], few[name])
