"""Perturbations against torchvision's transforms, image by image, and their reproducibility.

Tolerances in 1/255: 1 for ``orig`` (a rounded resize), 4 for 99.5 % of the pixels for all others.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as tvf
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode

from clever.augmentation import PERTURBATIONS, PerturbationOptions, perturb, perturbation_parameters
from clever.augmentation.elastic import displacement
from clever.errors import UserError

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
AUTHORS = {
    "orig": (),
    "cj": ("jitter",),
    "cj_flip": ("flip", "jitter"),
    "cj_rot": (90, "jitter"),
    "cj_rot180": (180, "jitter"),
    "cj_rot_et50": (90, "jitter", 50.0),
    "cj_rot_et": (90, "jitter", 100.0),
    "cj_rot_et150": (90, "jitter", 150.0),
    "rot180": (180,),
}
"""int: rotation by up to this many degrees; float: elastic distortion with this alpha."""

SIZES = torch.tensor([[60, 90], [90, 50], [61, 61], [48, 77], [90, 90], [33, 90]])


def perturb_all(name: str, pixels: Tensor, rows: Tensor | None = None, **changes: object) -> Tensor:
    rows = torch.arange(len(pixels)) if rows is None else rows
    settings: dict[str, object] = {"image_size": 44, "resize_size": 50, "mean": MEAN, "std": STD, "seed": 3}
    return perturb(name, pixels[rows], SIZES[rows], indices=100 + rows, **{**settings, **changes})  # type: ignore[arg-type]


def denormalise(images: Tensor) -> Tensor:
    return images * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)


@pytest.mark.parametrize("name", AUTHORS)
def test_equals_torchvision(images: Callable[..., Tensor], name: str) -> None:
    pixels = images(len(SIZES), 90, 90) // 2 + 64
    ours = denormalise(perturb_all(name, pixels)) * 255
    table = perturbation_parameters(name, seed=3, indices=100 + torch.arange(len(SIZES)))
    mode = InterpolationMode.BICUBIC if name == "orig" else InterpolationMode.BILINEAR
    close = []
    for row, (height, width) in enumerate(SIZES.tolist()):
        image = tvf.center_crop(tvf.resize(pixels[row, :, :height, :width], [50], mode, antialias=True), [44, 44])
        image = image.float() / 255
        for step in AUTHORS[name]:
            if step == "flip":
                image = tvf.hflip(image)
            elif step == "jitter":
                adjust = {
                    0: lambda x, r=row: tvf.adjust_brightness(x, float(table["brightness"][r])),
                    1: lambda x, r=row: tvf.adjust_contrast(x, float(table["contrast"][r])),
                    2: lambda x, r=row: tvf.adjust_saturation(x, float(table["saturation"][r])),
                    3: lambda x, r=row: tvf.adjust_hue(x, float(table["hue"][r])),
                }
                for number in table["jitter_order"][row].tolist():
                    image = adjust[number](image)
            elif isinstance(step, int):
                image = tvf.rotate(image, float(table["angle"][row]), fill=0.0)
            else:
                field = displacement(table["elastic_seed"][row : row + 1], 44, step, 5.0)
                image = tvf.elastic_transform(image, field.permute(0, 2, 3, 1), fill=[0.0])
        close.append((ours[row] - image * 255).abs())
    found = torch.stack(close)
    assert (found < (1.01 if name == "orig" else 4)).float().mean() > (0.9999 if name == "orig" else 0.995)


def test_the_list_matches_the_authors() -> None:
    assert list(PERTURBATIONS) == list(AUTHORS)
    assert {name for name, p in PERTURBATIONS.items() if p.interpolation == "bicubic"} == {"orig"}
    assert all((p.brightness, p.contrast, p.saturation, p.hue) == (0.4, 0.4, 0.4, 0.1) for p in PERTURBATIONS.values())


@pytest.mark.parametrize("name", AUTHORS)
def test_every_image_is_changed(images: Callable[..., Tensor], name: str) -> None:
    pixels = images(len(SIZES), 90, 90)
    plain, changed = perturb_all("orig", pixels), perturb_all(name, pixels)
    moved = (plain - changed).abs().flatten(1).mean(1)
    assert (moved == 0).all() if name == "orig" else (moved > 0.02).all()


@pytest.mark.parametrize("name", ["cj_rot_et", "rot180", "cj"])
def test_draw_depends_only_on_seed_name_and_index(images: Callable[..., Tensor], name: str) -> None:
    pixels = images(len(SIZES), 90, 90)
    everyone = perturb_all(name, pixels)
    rows = torch.tensor([4, 1])
    torch.manual_seed(99)
    torch.testing.assert_close(perturb_all(name, pixels, rows), everyone[rows], rtol=0, atol=1e-4)
    assert torch.equal(perturb_all(name, pixels), everyone)
    assert not torch.equal(perturb_all(name, pixels, seed=4), everyone)
    one = perturbation_parameters(name, seed=3, indices=torch.tensor([5, 6]))
    other = perturbation_parameters("cj_rot180", seed=3, indices=torch.tensor([5, 6]))
    assert not torch.equal(one["hue" if "cj" in name else "angle"], other["hue" if "cj" in name else "angle"])


@pytest.mark.parametrize("side", [32, 33, 57])
def test_small_images_need_no_resizing(images: Callable[..., Tensor], side: int) -> None:
    pixels = images(3, side, side)
    sizes = torch.full((3, 2), side)
    ours = perturb(
        "orig", pixels, sizes, image_size=side, resize_size=side, mean=MEAN, std=STD, seed=0, indices=torch.arange(3)
    )
    torch.testing.assert_close(denormalise(ours), pixels.float() / 255, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(300, 401), (267, 300), (500, 333), (256, 256)])
def test_centre_crop_equals_pillow(images: Callable[..., Tensor], height: int, width: int) -> None:
    pixels = images(1, height, width)
    ours = perturb(
        "orig",
        pixels,
        torch.tensor([[height, width]]),
        image_size=224,
        resize_size=256,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        seed=0,
        indices=torch.tensor([0]),
    )
    image = Image.fromarray(pixels[0].permute(1, 2, 0).numpy())
    image = tvf.center_crop(tvf.resize(image, 256, InterpolationMode.BICUBIC), 224)
    theirs = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
    assert (ours[0] * 255 - theirs).abs().max() <= 1.01


def test_own_definitions_and_parameters(images: Callable[..., Tensor]) -> None:
    pixels = images(len(SIZES), 90, 90)
    mild = PerturbationOptions(steps=("elastic",), elastic_alpha=0.0)
    assert torch.equal(perturb_all("mine", pixels, options=mild), perturb_all("also_mine", pixels, options=mild))
    table = perturbation_parameters("rot180", seed=0, indices=torch.arange(len(SIZES)))
    table["angle"] = torch.full((len(SIZES),), 90.0)
    turned = perturb_all("rot180", pixels, parameters=table)
    upright = perturb_all("upright", pixels, options=PerturbationOptions())
    torch.testing.assert_close(denormalise(turned), denormalise(upright).rot90(1, (2, 3)), rtol=0, atol=1e-6)


def test_wrong_input_is_named(images: Callable[..., Tensor]) -> None:
    pixels = images(len(SIZES), 90, 90)
    with pytest.raises(UserError, match=r"cj_rotate.*cj_flip"):
        perturb_all("cj_rotate", pixels)
    with pytest.raises(UserError, match="resize_size"):
        perturb_all("cj", pixels, resize_size=40)
