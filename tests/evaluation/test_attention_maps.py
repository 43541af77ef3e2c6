"""Attention of [CLS]: rows sum to 1, a planted patch is found, the mask holds its share of the mass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from clever.backbones import Backbone, BackboneOptions, build_backbone
from clever.errors import UserError
from clever.evaluation.attention_maps import class_attention, mass_mask, mean_over_heads, stretch


def vit() -> Backbone:
    return build_backbone(BackboneOptions(name="vit_tiny", image_size=32), seed=0).eval()


def images(height: int = 24, width: int = 32) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_a_row_of_attention_sums_to_one_and_the_map_holds_its_patch_entries() -> None:
    backbone = vit()
    maps = class_attention(backbone, images())
    assert maps.shape == (2, 3, 6, 8)
    with torch.no_grad():
        whole = backbone.attention(images())
    torch.testing.assert_close(whole.sum(-1), torch.ones(2, 3, 49))
    torch.testing.assert_close(maps.flatten(2), whole[:, :, 0, 1:])
    torch.testing.assert_close(maps.sum((2, 3)) + whole[:, :, 0, 0], torch.ones(2, 3))


def test_a_planted_patch_is_found() -> None:
    """One patch has another colour. The last block's query is constant, and its key points along that change."""
    backbone = vit()
    network: Any = backbone.network
    image = torch.zeros(1, 3, 24, 32)
    image[:, :, 8:12, 20:24] = 2.0
    seen: list[Tensor] = []
    handle = network.blocks[-1].attn.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        backbone(image)
        handle.remove()
        tokens = seen[0][0, 1:]
        planted = 2 * 8 + 5
        direction = tokens[planted] - tokens[torch.arange(48) != planted].mean(0)
        width = tokens.shape[1]
        qkv = network.blocks[-1].attn.qkv
        qkv.weight[: 2 * width].zero_()
        qkv.bias[: 2 * width].zero_()
        for head in range(3):
            qkv.bias[head * width // 3] = 5.0
            qkv.weight[width + head * width // 3] = 5.0 * direction
    maps = class_attention(backbone, image)
    assert maps.flatten(2).argmax(-1).tolist() == [[planted] * 3]
    mask = mass_mask(maps)
    assert mask[0, :, 2, 5].all()
    assert mean_over_heads(maps)[0].flatten().argmax() == planted


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_mask_is_the_smallest_that_holds_the_share(share: float) -> None:
    maps = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0)) ** 4
    mask = mass_mask(maps, share)
    mass = (maps * mask).sum((2, 3)) / maps.sum((2, 3))
    assert (mass >= share - 1e-6).all()
    # Without its least attended patch, it holds less than the share.
    least = maps.where(mask, torch.inf).amin((2, 3))
    assert (mass - least / maps.sum((2, 3)) < share).all()


def test_the_mean_over_heads_is_of_stretched_maps() -> None:
    maps = torch.tensor([[[[0.0, 1.0], [2.0, 4.0]], [[0.3, 0.3], [0.3, 0.3]]]])
    torch.testing.assert_close(stretch(maps)[0, 0], torch.tensor([[0.0, 0.25], [0.5, 1.0]]))
    torch.testing.assert_close(mean_over_heads(maps)[0], torch.tensor([[0.0, 0.125], [0.25, 0.5]]))


def test_a_resnet_has_no_attention() -> None:
    with pytest.raises(UserError, match="resnet18 has no attention maps"):
        class_attention(build_backbone(BackboneOptions(name="resnet18", image_size=32), seed=0), images())
