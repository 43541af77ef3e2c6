"""The last map: pooling it gives the representation of a convolutional network; for a ViT, it holds the patch
tokens."""

from __future__ import annotations

import pytest
import torch

from clever.backbones import BackboneOptions, build_backbone
from clever.errors import UserError


def images(height: int, width: int) -> torch.Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["resnet18", "resnet10t_half", "vmamba_tiny"])
def test_the_pooled_map_is_the_representation(name: str) -> None:
    backbone = build_backbone(BackboneOptions(name=name, image_size=64), seed=0).eval()
    with torch.no_grad():
        last, features = backbone.last_map(images(64, 96)), backbone(images(64, 96))
    assert last.ndim == 4
    assert last.shape[1] == backbone.feature_dim
    torch.testing.assert_close(last.mean((2, 3)), features, atol=1e-5, rtol=1e-4)


def test_the_map_of_a_vit_holds_its_patch_tokens_in_rows() -> None:
    backbone = build_backbone(BackboneOptions(name="vit_tiny", image_size=32), seed=0).eval()
    with torch.no_grad():
        last = backbone.last_map(images(24, 32))
        assert last.shape == (1, 192, 6, 8)
        assert torch.equal(last.flatten(2).transpose(1, 2), backbone.patch_tokens(images(24, 32)))


def test_pixels_have_no_map() -> None:
    backbone = build_backbone(BackboneOptions(name="pixels", image_size=8), seed=0)
    with pytest.raises(UserError, match=r"pixels has no feature map \(last_map\)"):
        backbone.last_map(images(8, 8))
