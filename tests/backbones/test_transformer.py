"""Blocks, tokens, attention and keys of the ViTs, re-derived from the weights."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from clever.backbones import Backbone, BackboneOptions, build_backbone
from clever.errors import UserError

SIZE, PATCH = 32, 4


def build(name: str = "vit_tiny", **settings: object) -> Backbone:
    options = BackboneOptions.model_validate({"name": name, "image_size": SIZE, **settings})
    return build_backbone(options, seed=0)


def images(n: int = 2, size: int = SIZE) -> Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def rederive(backbone: Backbone, x: Tensor) -> dict[str, Tensor]:
    """Compute the whole ViT in float64 from its weights alone, with softmax(QKᵀ/√d) written out."""
    w = {key: value.double() for key, value in backbone._network_state().items()}
    heads = {192: 3, 384: 6}[backbone.feature_dim]
    width = backbone.feature_dim

    def norm(tokens: Tensor, name: str) -> Tensor:
        centred = tokens - tokens.mean(-1, keepdim=True)
        return (
            centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]
        )

    def linear(tokens: Tensor, name: str) -> Tensor:
        return tokens @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    n, _, height, width_px = x.shape
    patches = x.double().reshape(n, 3, height // PATCH, PATCH, width_px // PATCH, PATCH).permute(0, 2, 4, 1, 3, 5)
    kernel = w["patch_embed.proj.weight"].flatten(1)
    tokens = patches.flatten(3).flatten(1, 2) @ kernel.T + w["patch_embed.proj.bias"]
    tokens = torch.cat([w["cls_token"].expand(n, -1, -1), tokens], dim=1) + w["pos_embed"]
    out: dict[str, Tensor] = {}
    classes = []
    for block in range(12):
        name = f"blocks.{block}"
        qkv = linear(norm(tokens, f"{name}.norm1"), f"{name}.attn.qkv")
        q, k, v = (part.unflatten(-1, (heads, width // heads)).transpose(1, 2) for part in qkv.split(width, dim=-1))
        scores = torch.exp(q @ k.transpose(-1, -2) / (width // heads) ** 0.5)
        attention = scores / scores.sum(-1, keepdim=True)
        tokens = tokens + linear((attention @ v).transpose(1, 2).flatten(2), f"{name}.attn.proj")
        hidden = linear(norm(tokens, f"{name}.norm2"), f"{name}.mlp.fc1")
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        tokens = tokens + linear(hidden, f"{name}.mlp.fc2")
        classes.append(norm(tokens, "norm")[:, 0])
        out |= {"attention": attention, "keys": qkv.split(width, dim=-1)[1][:, 1:]}
    return out | {"classes": torch.stack(classes), "patches": norm(tokens, "norm")[:, 1:]}


@pytest.mark.parametrize("name", ["vit_tiny", "vit_small"])
@pytest.mark.parametrize("fused", [True, False])
def test_everything_agrees_with_the_weights(name: str, fused: bool) -> None:
    backbone = build(name).eval()
    with torch.no_grad():
        for block in backbone.network.blocks:
            block.attn.fused_attn = fused
            # Initial queries are so small that every map is nearly uniform; scale them up so that an error would show.
            block.attn.qkv.weight.mul_(4)
        expected = rederive(backbone, images())
        found = {
            "attention": backbone.attention(images()),
            "keys": backbone.keys(images()),
            "patches": backbone.patch_tokens(images()),
            "classes": torch.stack(backbone.last_blocks(images(), 12)),
        }
        features = backbone(images())
    assert expected["attention"].std() > 0.005
    heads = backbone.feature_dim // 64
    tokens = (SIZE // PATCH) ** 2
    assert found["attention"].shape == (2, heads, tokens + 1, tokens + 1)
    assert found["keys"].shape == found["patches"].shape == (2, tokens, backbone.feature_dim)
    for key, value in found.items():
        assert torch.allclose(value.double(), expected[key], atol=2e-4), key
    assert torch.equal(features, backbone.last_blocks(images(), 1)[0])


def test_last_blocks_are_in_order_and_bounded() -> None:
    backbone = build().eval()
    four, two = backbone.last_blocks(images(), 4), backbone.last_blocks(images(), 2)
    assert len(four) == 4
    assert torch.equal(four[2], two[0])
    assert torch.equal(four[3], two[1])
    for n in (0, 13):
        with pytest.raises(UserError, match="has 12 blocks"):
            backbone.last_blocks(images(), n)


def test_attention_carries_gradient_and_sums_to_one_under_autocast() -> None:
    backbone = build().eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        attention = backbone.attention(images())
    assert attention.dtype == torch.float32
    assert torch.allclose(attention.sum(-1), torch.ones_like(attention[..., 0]), atol=1e-5)
    attention[:, :, 0, 1:].square().sum().backward()
    assert backbone.network.blocks[-1].attn.qkv.weight.grad.abs().sum() > 0


def test_no_hook_remains() -> None:
    backbone = build()
    backbone.keys(images())
    with pytest.raises(UserError):
        backbone.keys(images(size=30))
    assert not backbone.network.blocks[-1].attn.qkv._forward_hooks


@pytest.mark.parametrize(
    ("size", "patch", "tokens"), [(16, 4, 16), (32, 4, 64), (48, 8, 36), (64, 8, 64), (96, 16, 36)]
)
def test_patch_follows_the_image_size(size: int, patch: int, tokens: int) -> None:
    backbone = build(image_size=size)
    assert backbone.network.patch_embed.patch_size == (patch, patch)
    assert backbone.patch_tokens(images(1, size)).shape == (1, tokens, 192)


def test_positions_are_interpolated_bicubically_for_smaller_crops() -> None:
    backbone = build(image_size=64).eval()
    seen: list[Tensor] = []
    backbone.network.pos_drop.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    x = images(1, 32)
    backbone(x)
    network = backbone.network
    patches = network.patch_embed.proj(x).flatten(2).transpose(1, 2)
    grid = network.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (8, 8))
    expected = functional.interpolate(grid, size=(4, 4), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    assert torch.allclose(seen[0][:, 1:] - patches, expected, atol=1e-6)
    assert torch.allclose(seen[0][:, :1] - network.cls_token, network.pos_embed[:, :1], atol=1e-6)


def test_a_crop_that_does_not_divide_is_explained() -> None:
    with pytest.raises(UserError, match="images of 30x30 px do not divide into patches of 4x4"):
        build()(images(2, 30))


def test_paper_settings() -> None:
    backbone = build(drop_path=0.1)
    network = backbone.network
    assert network.norm.eps == 1e-6
    assert network.blocks[0].norm1.eps == 1e-6
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in network.blocks]
    assert rates == pytest.approx([0.1 * i / 11 for i in range(12)])
    assert 0.015 < network.cls_token.std() < 0.025
    assert 0.015 < network.pos_embed.std() < 0.025
    assert not torch.equal(backbone(images()), backbone(images()))
    assert torch.equal(backbone.eval()(images()), backbone(images()))


@pytest.mark.parametrize(("height", "width"), [(24, 24), (12, 20), (40, 40)])
def test_positions_are_interpolated_as_the_authors_do(height: int, width: int) -> None:
    """Keys' cubic convolution (a = -0.75) written out in float64, at the positions that the authors' scale implies."""
    backbone = build("vit_micro", position_interpolation="authors")
    network: Any = backbone.network
    grid = network.pos_embed[0, 1:].detach().double().unflatten(0, (SIZE // PATCH, SIZE // PATCH))

    def weights(count: int) -> Tensor:
        old = SIZE // PATCH
        found = torch.zeros(count, old, dtype=torch.float64)
        for place in range(count):
            centre = (place + 0.5) * old / (count + 0.1) - 0.5
            for tap in range(math.floor(centre) - 1, math.floor(centre) + 3):
                x, a = abs(centre - tap), -0.75
                near, far = ((a + 2) * x - (a + 3)) * x * x + 1, a * (((x - 5) * x + 8) * x - 4)
                found[place, min(max(tap, 0), old - 1)] += near if x <= 1 else far
        return found

    rows, columns = height // PATCH, width // PATCH
    expected = torch.einsum("ri,cj,ijd->rcd", weights(rows), weights(columns), grid).flatten(0, 1)
    tokens = network._pos_embed(torch.zeros(1, rows, columns, backbone.feature_dim))[0]
    torch.testing.assert_close(tokens[1:].double(), expected, rtol=0, atol=1e-6)
    assert torch.equal(tokens[0], network.cls_token[0, 0] + network.pos_embed[0, 0])


def test_positions_at_the_original_size_are_unchanged_and_the_default_is_timm_s() -> None:
    authors, timms = (build("vit_micro", position_interpolation=kind).eval() for kind in ("authors", "antialiased"))
    torch.testing.assert_close(authors(images()), timms(images()), rtol=0, atol=0)
    small = images(size=12)
    difference = (authors(small) - timms(small)).norm() / timms(small).norm()
    assert 1e-4 < difference < 0.1


@pytest.mark.parametrize("name", ["resnet18", "vmamba_tiny", "deit3_small_patch16_224"])
def test_other_backbones_reject_the_authors_positions(name: str) -> None:
    with pytest.raises(UserError, match="position_interpolation"):
        build(name, position_interpolation="authors")
