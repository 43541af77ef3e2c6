from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tvf
from pydantic import ValidationError
from scipy.spatial.transform import Rotation
from torch import Tensor
from torchvision.transforms import InterpolationMode

from clever.augmentation.options.pairs import PairViewOptions
from clever.augmentation.options.views import ExtraView
from clever.augmentation.pairs import PairViews
from clever.augmentation.views import View
from clever.errors import UserError
from clever.randomness import make_generator

MEAN, STD = (0.3, 0.4, 0.5), (0.2, 0.25, 0.3)


def maker(size: int = 16, **options: Any) -> PairViews:
    return PairViews(PairViewOptions(global_size=size, **options), MEAN, STD)


def known(count: int, seed: int = 0) -> Tensor:
    """Latents drawn as in 3DIEBench."""
    high = torch.tensor([math.pi / 2] * 3 + [1, math.pi / 4, 2 * math.pi, 1])
    low = torch.tensor([-math.pi / 2] * 3 + [0.0] * 4)
    return low + (high - low) * torch.rand(count, 7, generator=make_generator(seed, "latents"))


def make(made: PairViews, pixels: Tensor, latents: Tensor, sizes: Tensor | None = None) -> list[View]:
    sizes = torch.tensor([pixels.shape[2:]]).repeat(len(pixels), 1) if sizes is None else sizes
    return made.apply(pixels, sizes, made.draw(sizes, make_generator(0, "views")), latents=latents)


def normalised(images: Tensor) -> Tensor:
    return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def test_stored_size_is_only_normalised(images: Callable[..., Tensor]) -> None:
    pixels, latents = images(6, 16, 16), known(6)
    first, second = make(maker(), pixels, latents)
    expected = normalised(pixels.float() / 255)
    torch.testing.assert_close(first.images, expected[:3], rtol=0, atol=1e-5)
    torch.testing.assert_close(second.images, expected[3:], rtol=0, atol=1e-5)
    assert [view.kind for view in (first, second)] == maker().kinds == ["global", "global"]
    assert torch.equal(second.parameters["floor_hue"], latents[3:, 3])
    assert torch.equal(first.parameters["light_hue"], latents[:3, 6])
    assert first.sizes.tolist() == [[16, 16]] * 3


def test_other_sizes_equal_torchvision_resize_and_centre_crop(images: Callable[..., Tensor]) -> None:
    pixels = torch.zeros(4, 3, 40, 44, dtype=torch.uint8)
    sizes = torch.tensor([[40, 30], [24, 44], [40, 44], [20, 20]])
    expected = []
    for row, (height, width) in enumerate(sizes.tolist()):
        # Stay far from black and white, where Pillow (and the library) would clamp between the two directions.
        pixels[row, :, :height, :width] = images(1, height, width, seed=row)[0] // 2 + 64
        source = pixels[row, :, :height, :width].float() / 255
        resized = tvf.resize(source, [16], InterpolationMode.BICUBIC, antialias=True)
        expected.append(normalised(tvf.center_crop(resized, [16, 16])))
    views = make(maker(), pixels, known(4), sizes)
    torch.testing.assert_close(torch.cat([view.images for view in views]), torch.stack(expected), rtol=0, atol=1e-4)
    assert views[1].sizes.tolist() == [[40, 44], [20, 20]]
    last = PairViews(PairViewOptions(global_size=16), MEAN, STD, channels_last=True)
    for view, plain in zip(make(last, pixels, known(4), sizes), views, strict=True):
        assert view.images.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(view.images, plain.images)


def test_relative_equals_scipy_rotation_and_the_changes_of_hue(images: Callable[..., Tensor]) -> None:
    pixels, latents = images(200, 8, 8), known(200)
    angles = latents[:, :3].double().numpy()
    one, two = Rotation.from_euler("xyz", angles[:100]), Rotation.from_euler("xyz", angles[100:])
    product = torch.from_numpy((one.inv() * two).as_quat()).float()
    for relative in ("rotation", "rotation_and_colour"):
        made = maker(8, relative=relative)
        found = made.space.relative(*make(made, pixels, latents))
        assert found.dtype == torch.float32
        assert found.shape == (100, len(made.space.relative_names))
        # The sign of an inverse differs between SciPy releases.
        sign = (found[:, :4] * product).sum(1, keepdim=True).sign()
        torch.testing.assert_close(found[:, :4], sign * product, rtol=0, atol=1e-6)
    assert made.space.relative_names[4:] == ("floor_hue_change", "light_hue_change")
    torch.testing.assert_close(found[:, 4], latents[100:, 3] - latents[:100, 3])
    torch.testing.assert_close(found[:, 5], latents[100:, 6] - latents[:100, 6])


def test_vectors_are_standardised_over_all_photographs(images: Callable[..., Tensor]) -> None:
    pixels = images(1, 2, 2).expand(40000, 3, 2, 2)
    latents = known(40000)
    made = maker(2, relative="rotation_and_colour")
    vector = made.space.vector(make(made, pixels, latents)[0])
    assert vector.shape == (20000, len(made.space.names)) == (20000, 6)
    assert vector.mean(0).abs().max() < 0.03
    assert (vector.std(0) - 1).abs().max() < 0.02
    quaternion = Rotation.from_euler("xyz", latents[:20000, :3].double().numpy()).as_quat()
    for column in range(4):
        slope = np.corrcoef(quaternion[:, column], vector[:, column].numpy())[0, 1]
        assert slope == pytest.approx(1, abs=1e-5)
    assert maker().space.names == ("rotation_qx", "rotation_qy", "rotation_qz", "rotation_qw")


def test_unsupported_settings_are_rejected(images: Callable[..., Tensor]) -> None:
    made, pixels, sizes = maker(), images(4, 16, 16), torch.full((4, 2), 16)
    tables = made.draw(sizes, make_generator(0, "views"))
    with pytest.raises(UserError, match="uses photographs, which are not differentiable") as caught:
        made.apply(pixels, sizes, tables, latents=known(4), differentiable=True)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="uses photographs"):
        made.redraw(2, 3, make_generator(0, "again"))
    with pytest.raises(UserError, match=r"needs latents \[4, 7\], not none; prepare data of source threediebench"):
        made.apply(pixels, sizes, tables)
    with pytest.raises(UserError, match=r"needs latents \[4, 7\], not \[4, 10\]"):
        made.apply(pixels, sizes, tables, latents=torch.zeros(4, 10))
    with pytest.raises(UserError, match="two photographs of every object, not 3 in all"):
        made.apply(pixels[:3], sizes[:3], tables, latents=known(3))
    with pytest.raises(UserError, match="cannot make plain"):
        PairViews(PairViewOptions(), MEAN, STD, False, [ExtraView("plain")])
    for keys in ({"local_views": 1}, {"relative": "colour"}, {"global_size": 0}):
        with pytest.raises(ValidationError):
            PairViewOptions(**keys)
