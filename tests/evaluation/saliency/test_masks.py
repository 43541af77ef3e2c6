"""Masks from a backbone: which features are compared, and that an object with a distinct colour is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from clever.backbones import Backbone, BackboneOptions, build_backbone
from clever.errors import UserError
from clever.evaluation.saliency.discovery import Method
from clever.evaluation.saliency.masks import coarse_mask, enlarge, patch_features

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def backbone(name: str, size: int = 32) -> Backbone:
    return build_backbone(BackboneOptions(name=name, image_size=size), seed=0).eval()


def test_a_vit_gives_keys_in_rows_and_columns_and_a_resnet_its_centred_map() -> None:
    images = torch.randn(2, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    vit, resnet = backbone("vit_tiny"), backbone("resnet18")
    with torch.no_grad():
        keys = patch_features(vit, images)
        assert keys.shape == (2, 6, 8, 192)
        torch.testing.assert_close(keys.flatten(1, 2), vit.keys(images))
        tokens = patch_features(vit, images, "map", slice(0, 153))
        assert tokens.shape == (2, 6, 8, 153)
        torch.testing.assert_close(tokens.mean(dim=(1, 2)), torch.zeros(2, 153), atol=1e-5, rtol=0)
        maps = patch_features(resnet, images)
        assert maps.shape == (2, 3, 4, 512)
        centred = resnet.last_map(images) - resnet(images)[:, :, None, None]
        torch.testing.assert_close(maps, centred.movedim(1, -1), atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="keys cannot be split"):
        patch_features(vit, images, columns=slice(0, 5))
    with pytest.raises(UserError, match="backbone pixels has no feature map"):
        patch_features(backbone("pixels"), images)


def two_colours() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    truth = np.zeros((48, 64), dtype=bool)
    truth[16:32, 16:40] = True
    image = np.where(truth[..., None], (220, 30, 30), (40, 90, 200)).astype(np.uint8)
    return image + np.random.default_rng(0).integers(0, 12, image.shape, dtype=np.uint8), truth


class Colours(Backbone):
    """Each patch of 8 px is its mean colour."""

    def __init__(self) -> None:
        super().__init__("colours", 3)

    def last_map(self, images: Tensor) -> Tensor:
        return F.avg_pool2d(images, 8)


@pytest.mark.parametrize("method", ["tokencut", "lost"])
def test_an_object_of_another_colour_is_found(method: Method) -> None:
    image, truth = two_colours()
    mask = coarse_mask(Colours(), image, patch=8, mean=MEAN, std=STD, method=method)
    assert np.array_equal(mask, truth)


def test_token_cut_finds_it_by_the_keys_of_an_untrained_vit() -> None:
    image, truth = two_colours()
    mask = coarse_mask(backbone("vit_tiny"), image, patch=4, mean=MEAN, std=STD)
    assert (mask & truth).sum() / (mask | truth).sum() > 0.5


def test_parts_need_a_map_that_is_pooled_to_the_representation() -> None:
    images = torch.zeros(1, 3, 64, 64)
    with torch.no_grad(), pytest.raises(UserError, match="its last map has 288 channels, its representation 1152"):
        patch_features(backbone("mambaout_femto", 64), images, "map", slice(0, 100))


def test_an_enlarged_mask_takes_the_nearest_patch() -> None:
    mask = np.array([[True, False], [False, True]])
    assert np.array_equal(enlarge(mask, 4, 6), mask.repeat(2, axis=0).repeat(3, axis=1))
