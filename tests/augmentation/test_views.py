"""Further features of augmentations: extra views, differentiable views, and views in chunks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clever.augmentation import Augmentation, AugmentationOptions, ExtraView, chunk_views
from clever.augmentation.differentiable import FACTORS, differentiable_jitter
from clever.randomness import make_generator

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
SIZES = torch.full((6, 2), 20)


@pytest.fixture
def pixels() -> Tensor:
    return torch.randint(0, 256, (6, 3, 20, 20), generator=make_generator(0, "pixels"), dtype=torch.uint8)


def make_options(**settings: object) -> AugmentationOptions:
    return AugmentationOptions.model_validate(
        {"name": "caug_plus", "global_size": 20, "local_size": 10, "local_views": 1, "elastic_alpha": 8.0} | settings
    )


def test_extra_views_do_not_change_the_other_views(pixels: Tensor) -> None:
    extra = (ExtraView("plain"), ExtraView("crop", size=8, scale=(0.2, 1.0)))
    alone = Augmentation(make_options(), MEAN, STD)(pixels, SIZES, make_generator(1))
    more = Augmentation(make_options(), MEAN, STD, extra=extra)(pixels, SIZES, make_generator(1))
    assert [view.kind for view in more] == ["global", "global", "local", "extra", "extra"]
    for one, other in zip(alone, more, strict=False):
        assert torch.equal(one.images, other.images)


def test_a_plain_view_is_the_image_itself(pixels: Tensor) -> None:
    maker = Augmentation(make_options(), MEAN, STD, extra=(ExtraView("plain"),))
    views = dict(zip(maker.names, maker(pixels, SIZES, make_generator(1)), strict=True))
    assert list(views) == ["global_1", "global_2", "local_1", "plain"]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    torch.testing.assert_close(views["plain"].images, (pixels / 255.0 - mean) / std, rtol=0, atol=1e-5)


def test_a_small_crop_has_its_own_size_and_scale_and_the_local_views_other_settings(pixels: Tensor) -> None:
    maker = Augmentation(
        make_options(blur_probability_local=0.0), MEAN, STD, extra=(ExtraView("crop", size=8, scale=(0.5, 0.6)),)
    )
    tables = maker.draw(torch.full((400, 2), 20), make_generator(2))
    share = tables[-1]["crop_height"] * tables[-1]["crop_width"] / 400
    assert 0.42 < share.min() < share.max() < 0.68  # whole pixels of a 20 px image
    assert not tables[-1]["blur_applied"].any()
    assert tables[-1]["angle"].abs().max() > 80
    assert maker(pixels, SIZES, make_generator(2))[-1].images.shape == (6, 3, 8, 8)


def test_a_differentiable_view_differs_only_in_its_jitter(pixels: Tensor) -> None:
    maker = Augmentation(make_options(jitter_probability=0.0), MEAN, STD)
    tables = maker.draw(SIZES, make_generator(3))
    plain = maker.apply(pixels, SIZES, tables)
    views = maker.apply(pixels, SIZES, tables, differentiable=True)
    assert torch.equal(plain[1].images, views[1].images)
    torch.testing.assert_close(views[0].images, plain[0].images, rtol=0, atol=2e-3)  # grey weights differ
    assert views[1].differentiable is None


def test_a_differentiable_view_is_jittered_after_its_pixels_have_moved(pixels: Tensor) -> None:
    """Without grayscale, blur and solarisation, the view equals the differentiable jitter of the un-jittered view."""
    settings = {
        "grayscale_probability": 0.0,
        "blur_probability_global_1": 0.0,
        "jitter_probability": 1.0,
    }
    options = make_options(**settings)
    maker, raw = Augmentation(options, MEAN, STD), Augmentation(options, (0, 0, 0), (1, 1, 1))
    tables = maker.draw(SIZES, make_generator(4))
    view = maker.apply(pixels, SIZES, tables, differentiable=True)[0]
    still = [{**table, "jitter_applied": torch.zeros(6, dtype=torch.bool)} for table in tables]
    moved = raw.apply(pixels, SIZES, still)[0].images
    factors = torch.stack([tables[0][name] for name in FACTORS], 1)
    expected = differentiable_jitter(moved, factors, torch.ones(6, dtype=torch.bool))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    torch.testing.assert_close(view.images.detach(), (expected - mean) / std, rtol=0, atol=1e-5)
    assert view.differentiable is not None
    assert torch.equal(view.differentiable.detach(), factors)


def test_gradients_reach_the_factors_of_every_jittered_image(pixels: Tensor) -> None:
    maker = Augmentation(make_options(jitter_probability=0.5, grayscale_probability=0.0), MEAN, STD)
    tables = maker.draw(SIZES, make_generator(5))
    view = maker.apply(pixels, SIZES, tables, differentiable=True)[0]
    assert view.differentiable is not None
    (gradient,) = torch.autograd.grad(view.images.square().sum(), view.differentiable)
    jittered = tables[0]["jitter_applied"]
    assert 0 < int(jittered.sum()) < 6
    assert bool((gradient[jittered] != 0).any(1).all())
    assert not gradient[~jittered].any()


def test_redrawn_factors_have_the_augmentation_s_ranges_whatever_the_number_of_chunks() -> None:
    maker = Augmentation(make_options(brightness=0.4, contrast=1.2, saturation=0.0, hue=0.1), MEAN, STD)
    whole = maker.redraw(6, 500, make_generator(6))
    low, high = whole.amin((0, 1)), whole.amax((0, 1))
    torch.testing.assert_close(low, torch.tensor([0.6, 0.0, 1.0, -0.1]), rtol=0, atol=0.01)
    torch.testing.assert_close(high, torch.tensor([1.4, 2.2, 1.0, 0.1]), rtol=0, atol=0.01)
    halves = [maker.redraw(3, 500, make_generator(6), share, 2) for share in range(2)]
    assert torch.equal(torch.cat(halves, 1), whole)


def test_views_in_chunks_equal_the_views(pixels: Tensor) -> None:
    views = Augmentation(make_options(), MEAN, STD)(pixels, SIZES, make_generator(7))
    parts = chunk_views(views, 3)
    assert [len(part) for part in parts] == [3, 3, 3]
    for number, view in enumerate(views):
        assert torch.equal(torch.cat([part[number].images for part in parts]), view.images)
        for name, column in view.parameters.items():
            assert torch.equal(torch.cat([part[number].parameters[name] for part in parts]), column)
    with pytest.raises(ValueError, match="6 rows do not divide into 4 chunks"):
        chunk_views(views, 4)
    leaf = Augmentation(make_options(), MEAN, STD)
    differentiable = leaf.apply(pixels, SIZES, leaf.draw(SIZES, make_generator(8)), differentiable=True)
    with pytest.raises(ValueError, match="cannot be split"):
        chunk_views(differentiable, 2)
