"""Augmentations against a pipeline of torchvision's functional forms, one image and one operation after the other.

Tolerances in 1/255, given the same table of parameters:

=============================  ==========================================================================
operation                      tolerance (repeated in the test of each one)
=============================  ==========================================================================
crop                           matrix 0.01 (float, no overshoot), 1.5 (uint8); native 1 (uint8)
rotation                       equal pixels, except for 0.02 % where rounding chooses another neighbour
elastic distortion             0.02
brightness, contrast,          0.01
saturation, grayscale
hue                            0.05
blur                           0.02 (gaussian); pillow: Pillow's rounding, mean 1.2
solarisation                   0
augmentation, matrix crop      0.5 for 99.8 % of the pixels
augmentation, native crop      4 for 99.8 % of the pixels, mean 0.6 (whole grey levels after the crop)
augmentation against Pillow    mean 1.4 over a batch (whole grey levels after every operation)
=============================  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as tvf
from PIL import Image, ImageFilter
from torch import Tensor

from clever.augmentation import Augmentation, AugmentationOptions, Table, View
from clever.augmentation.elastic import displacement
from clever.errors import UserError
from clever.randomness import make_generator

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
RECIPES = ["baug", "caug", "caug_plus"]
ALPHA, SIGMA, HALF_WIDTH = 60.0, 3.0, 8


def make_options(name: str, **changes: object) -> AugmentationOptions:
    small = {"global_size": 40, "local_size": 24, "local_views": 3, "elastic_alpha": ALPHA, "elastic_sigma": SIGMA}
    return AugmentationOptions.model_validate({"name": name, **small, **changes})


def denormalise(images: Tensor) -> Tensor:
    return images * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)


def padded(batch: Tensor, sizes: Tensor) -> Tensor:
    """Paint everything beyond each image's size white."""
    batch = batch.clone()
    for row, (height, width) in enumerate(sizes.tolist()):
        batch[row, :, height:] = 255
        batch[row, :, :, width:] = 255
    return batch


def make_sizes(count: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    share = 0.6 + 0.4 * torch.rand(count, 2, generator=generator)
    return (share * torch.tensor([height, width])).long()


def row_of(table: Table, row: int) -> Table:
    return {name: column[row] for name, column in table.items()}


def differences(views: list[View], pixels: Tensor, sizes: Tensor, single: Callable[..., Tensor]) -> Tensor:
    """|ours - theirs| in grey levels, all pixels of all views in one row."""
    found = []
    for view in views:
        for row, image in enumerate(denormalise(view.images)):
            height, width = sizes[row].tolist()
            theirs = single(pixels[row, :, :height, :width], row_of(view.parameters, row), image.shape[-1])
            found.append((image - theirs).abs().flatten())
    return torch.cat(found) * 255


@pytest.mark.parametrize("rotates_after_blur", [False, True])
@pytest.mark.parametrize("name", RECIPES)
def test_augmentation_equals_torchvision(
    images: Callable[..., Tensor], torchvision_view: Callable[..., Tensor], name: str, rotates_after_blur: bool
) -> None:
    sizes = make_sizes(24, 60, 64)
    pixels = padded(images(24, 60, 64) // 2 + 64, sizes)
    options = make_options(name, blur_filter="gaussian", rotates_after_blur=rotates_after_blur)
    views = Augmentation(options, MEAN, STD)(pixels, sizes, make_generator(0, name))

    def single(*arguments: object) -> Tensor:
        order = {"rotates_after_blur": rotates_after_blur}
        return torchvision_view(*arguments, alpha=ALPHA, sigma=SIGMA, half_width=HALF_WIDTH, **order)

    found = differences(views, pixels, sizes, single)
    assert (found < 0.5).float().mean() > 0.998


@pytest.mark.parametrize("name", RECIPES)
def test_augmentation_with_the_native_crop_equals_torchvision(
    images: Callable[..., Tensor], torchvision_view: Callable[..., Tensor], name: str
) -> None:
    sizes = make_sizes(24, 90, 100)
    pixels = padded(images(24, 90, 100) // 2 + 64, sizes)
    views = Augmentation(make_options(name, blur_filter="gaussian"), MEAN, STD)(pixels, sizes, make_generator(1, name))

    def single(*arguments: object) -> Tensor:
        return torchvision_view(*arguments, alpha=ALPHA, sigma=SIGMA, half_width=HALF_WIDTH)

    found = differences(views, pixels, sizes, single)
    assert (found < 4).float().mean() > 0.998
    assert found.mean() < 0.6


def pillow_view(pixels: Tensor, row: Table, size: int) -> Tensor:
    """Apply one row of a table to one image with Pillow, as the authors do."""
    top, left, height, width = (int(row[f"crop_{part}"]) for part in ("top", "left", "height", "width"))
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    image = image.crop((left, top, left + width, top + height)).resize((size, size), Image.Resampling.BICUBIC)
    if row["flip"]:
        image = tvf.hflip(image)
    image = tvf.rotate(image, float(row["angle"]))
    if row["elastic_applied"]:
        field = displacement(row["elastic_seed"].view(1), size, ALPHA, SIGMA)
        image = tvf.elastic_transform(image, field.permute(0, 2, 3, 1), fill=[0.0])
    steps = (tvf.adjust_brightness, tvf.adjust_contrast, tvf.adjust_saturation, tvf.adjust_hue)
    names = ("brightness", "contrast", "saturation", "hue")
    for number in row["jitter_order"].tolist() if row["jitter_applied"] else []:
        image = steps[number](image, float(row[names[number]]))
    if row["grayscale"]:
        image = tvf.to_grayscale(image, 3)
    if row["blur_applied"]:
        image = image.filter(ImageFilter.GaussianBlur(float(row["blur_radius"])))
    if row["solarise_applied"]:
        image = tvf.solarize(image, 128)
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("side", [60, 110])
def test_augmentation_is_close_to_pillow(images: Callable[..., Tensor], name: str, side: int) -> None:
    sizes = make_sizes(24, side, side)
    pixels = padded(images(24, side, side), sizes)
    views = Augmentation(make_options(name), MEAN, STD)(pixels, sizes, make_generator(2, name))
    assert differences(views, pixels, sizes, pillow_view).mean() < 1.4


def test_views_are_normalised_and_laid_out(images: Callable[..., Tensor]) -> None:
    pixels, sizes = images(5, 50, 50), torch.full((5, 2), 50)
    tables = Augmentation(make_options("caug"), MEAN, STD).draw(sizes, make_generator(0))
    plain = Augmentation(make_options("caug"), MEAN, STD).apply(pixels, sizes, tables)
    raw = Augmentation(make_options("caug"), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).apply(pixels, sizes, tables)
    last = Augmentation(make_options("caug"), MEAN, STD, channels_last=True).apply(pixels, sizes, tables)
    assert [view.kind for view in plain] == ["global"] * 2 + ["local"] * 3
    assert [tuple(view.images.shape) for view in plain] == [(5, 3, 40, 40)] * 2 + [(5, 3, 24, 24)] * 3
    for one, other, bare in zip(plain, last, raw, strict=True):
        assert one.images.is_contiguous()
        assert other.images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(one.images, other.images)
        assert bare.images.min() >= 0
        assert bare.images.max() <= 1
        torch.testing.assert_close(denormalise(one.images), bare.images, rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", [48, 100])
def test_same_seed_same_bits_and_parameters_reproduce_the_view(images: Callable[..., Tensor], side: int) -> None:
    sizes = make_sizes(9, side, side)
    pixels, augmentation = images(9, side, side), Augmentation(make_options("caug_plus"), MEAN, STD)
    torch.manual_seed(0)
    once = augmentation(pixels, sizes, make_generator(3, "step", 8))
    torch.manual_seed(1)
    again = augmentation(pixels, sizes, make_generator(3, "step", 8))
    back = augmentation.apply(pixels, sizes, [view.parameters for view in once])
    other = augmentation(pixels, sizes, make_generator(3, "step", 9))
    for a, b, c, d in zip(once, again, back, other, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.images, c.images)
        assert not torch.equal(a.images, d.images)


@pytest.mark.parametrize("side", [48, 100])
def test_a_view_depends_only_on_its_row(images: Callable[..., Tensor], side: int) -> None:
    sizes = make_sizes(9, side, side)
    pixels, augmentation = images(9, side, side), Augmentation(make_options("caug_plus"), MEAN, STD)
    tables = augmentation.draw(sizes, make_generator(4))
    together = augmentation.apply(pixels, sizes, tables)
    chosen = torch.tensor([7, 2])
    few = [{name: column[chosen] for name, column in table.items()} for table in tables]
    alone = augmentation.apply(pixels[chosen], sizes[chosen], few)
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a.images[chosen], b.images, rtol=0, atol=1e-4)


@pytest.mark.parametrize("side", [60, 100])
def test_padding_never_leaks_into_a_view(images: Callable[..., Tensor], side: int) -> None:
    sizes = make_sizes(12, side, side)
    white = padded(images(12, side, side), sizes)
    augmentation = Augmentation(make_options("caug_plus"), MEAN, STD)
    tables = augmentation.draw(sizes, make_generator(5))
    noise = torch.randint(0, 256, white.shape, dtype=torch.uint8, generator=make_generator(6))
    other = white.clone()
    for row, (height, width) in enumerate(sizes.tolist()):
        other[row, :, height:] = noise[row, :, height:]
        other[row, :, :, width:] = noise[row, :, :, width:]
    assert not torch.equal(white, other)
    for a, b in zip(augmentation.apply(white, sizes, tables), augmentation.apply(other, sizes, tables), strict=True):
        assert torch.equal(a.images, b.images)


def test_only_the_second_global_view_is_solarised_and_only_its_augmentation_rotates() -> None:
    sizes = torch.full((300, 2), 50)
    for name in RECIPES:
        tables = Augmentation(make_options(name), MEAN, STD).draw(sizes, make_generator(7))
        assert [bool(table["solarise_applied"].any()) for table in tables] == [False, True, False, False, False]
        assert all(bool((table["angle"] != 0).all()) == (name != "baug") for table in tables)
        assert all(bool(table["elastic_applied"].any()) == (name == "caug_plus") for table in tables)
        shares = [table["blur_applied"].float().mean().item() for table in tables]
        for share, wanted in zip(shares, (1.0, 0.1, 0.5, 0.5, 0.5), strict=True):
            assert abs(share - wanted) < 0.1


def test_two_views_are_enough(images: Callable[..., Tensor]) -> None:
    views = Augmentation(make_options("baug", local_views=0), MEAN, STD)(
        images(2, 40, 40), torch.full((2, 2), 40), make_generator(0)
    )
    assert [view.kind for view in views] == ["global", "global"]


def test_autocast_does_not_coarsen_the_views(images: Callable[..., Tensor]) -> None:
    pixels, sizes = images(2, 40, 40), torch.full((2, 2), 40)
    augmentation = Augmentation(make_options("caug_plus"), MEAN, STD)
    plain = augmentation(pixels, sizes, make_generator(0))
    with torch.autocast("cpu", torch.bfloat16):
        cast = augmentation(pixels, sizes, make_generator(0))
    assert all(torch.equal(a.images, b.images) for a, b in zip(plain, cast, strict=True))


def test_wrong_input_is_named(images: Callable[..., Tensor]) -> None:
    augmentation = Augmentation(make_options("baug"), MEAN, STD)
    pixels, sizes = images(2, 40, 40), torch.full((2, 2), 40)
    tables = augmentation.draw(sizes, make_generator(0))
    with pytest.raises(UserError, match="uint8"):
        augmentation.apply(pixels.float(), sizes, tables)
    with pytest.raises(UserError, match="sizes"):
        augmentation.apply(pixels, sizes[:1], tables)
    with pytest.raises(UserError, match="5 tables of 2 rows"):
        augmentation.apply(pixels, sizes, tables[:1])
    with pytest.raises(UserError, match="positive"):
        Augmentation(make_options("baug"), MEAN, (1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="blur_radius"):
        make_options("baug", blur_radius=(2.0, 1.0))


def test_gpu_makes_the_same_views(images: Callable[..., Tensor]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    sizes = make_sizes(16, 60, 64)
    pixels, augmentation = images(16, 60, 64), Augmentation(make_options("caug_plus"), MEAN, STD)
    host = augmentation(pixels, sizes, make_generator(0))
    device = augmentation(pixels.cuda(), sizes, make_generator(0))
    for a, b in zip(host, device, strict=True):
        for name, column in a.parameters.items():
            assert torch.equal(column, b.parameters[name].cpu())
        close = (denormalise(a.images) - denormalise(b.images.cpu())).abs() < 0.5 / 255
        assert close.float().mean() > 0.998
