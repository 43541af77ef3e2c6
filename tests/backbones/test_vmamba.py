"""VMamba-Tiny against its definition: four flipped copies of the map, each scanned in a loop, then summed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from clever.backbones import BackboneOptions, build_backbone
from clever.backbones.vmamba import SS2D, VMamba
from clever.errors import UserError


def build(**settings: object) -> VMamba:
    options = BackboneOptions.model_validate({"name": "vmamba_tiny", "image_size": 64, **settings})
    backbone = build_backbone(options, seed=0)
    assert isinstance(backbone, VMamba)
    return backbone


def perturbed_ss2d(width: int) -> SS2D:
    """A layer whose parameters all differ from their initial values, so that none can be confused or left out."""
    torch.manual_seed(0)
    layer = SS2D(width)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer


def definition(layer: SS2D, x: Tensor) -> Tensor:
    """Compute SS2D of [N, H, W, D] as the VMamba paper defines it, one direction and one position at a time."""
    n, height, width, channels = x.shape
    mapped = torch.einsum("nhwc,dc->ndhw", x, layer.in_proj.weight)
    mapped = functional.silu(functional.conv2d(mapped, layer.conv2d.weight, padding=1, groups=channels))
    total = torch.zeros_like(mapped)
    for k, (columns, backwards) in enumerate([(False, False), (True, False), (False, True), (True, True)]):
        sequence = (mapped.transpose(2, 3) if columns else mapped).flatten(2)
        sequence = sequence.flip(-1) if backwards else sequence
        projected = torch.einsum("ndl,pd->npl", sequence, layer.x_proj_weight[k])
        low, b, c = projected[:, : layer.rank], projected[:, layer.rank], projected[:, layer.rank + 1]
        bias = layer.dt_projs_bias[k][None, :, None]
        delta = torch.log1p(torch.exp(torch.einsum("nrl,dr->ndl", low, layer.dt_projs_weight[k]) + bias))
        a = -torch.exp(layer.A_logs[k * channels : (k + 1) * channels, 0])
        skip = layer.Ds[k * channels : (k + 1) * channels]
        h = torch.zeros(n, channels, dtype=x.dtype)
        outputs = []
        for i in range(height * width):
            h = torch.exp(delta[:, :, i] * a) * h + delta[:, :, i] * b[:, i, None] * sequence[:, :, i]
            outputs.append(c[:, i, None] * h + skip * sequence[:, :, i])
        y = torch.stack(outputs, dim=-1)
        y = y.flip(-1) if backwards else y
        total = total + (
            y.unflatten(-1, (width, height)).transpose(2, 3) if columns else y.unflatten(-1, (height, width))
        )
    tokens = functional.layer_norm(
        total.permute(0, 2, 3, 1), (channels,), layer.out_norm.weight, layer.out_norm.bias, eps=1e-5
    )
    return tokens @ layer.out_proj.weight.T


@pytest.mark.parametrize(("height", "width"), [(3, 3), (5, 4), (1, 7)])
def test_ss2d_values_and_gradients(height: int, width: int) -> None:
    layer = perturbed_ss2d(32).double()
    x = torch.randn(2, height, width, 32, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, height, width, 32, dtype=torch.float64)
    expected, found = definition(layer, x), layer(x)
    torch.testing.assert_close(found, expected)
    inputs = [x, *layer.parameters()]
    ours = torch.autograd.grad((found * weights).sum(), inputs)
    theirs = torch.autograd.grad((expected * weights).sum(), inputs)
    for (name, _), a, b in zip([("x", x), *layer.named_parameters()], ours, theirs, strict=True):
        assert (a - b).abs().max() < 1e-9 * b.abs().max(), name


def test_parameter_count_matches_the_paper() -> None:
    assert sum(p.numel() for p in build().parameters()) == 29_480_064


def test_stages_have_the_papers_widths_and_depths() -> None:
    backbone = build()
    maps: list[tuple[int, ...]] = []
    for layer in backbone.layers:
        layer.blocks.register_forward_hook(lambda _module, _inputs, output: maps.append(tuple(output.shape[1:])))
    backbone(torch.randn(1, 3, 64, 64))
    assert maps == [(96, 16, 16), (192, 8, 8), (384, 4, 4), (768, 2, 2)]
    assert [len(layer.blocks) for layer in backbone.layers] == [2, 2, 8, 2]
    assert [layer.blocks[0].op.rank for layer in backbone.layers] == [6, 12, 24, 48]


def test_initial_values() -> None:
    op = build().layers[1].blocks[0].op
    assert torch.equal(op.A_logs, torch.zeros(4 * 192, 1))
    assert torch.equal(op.Ds, torch.ones(4 * 192))
    steps = functional.softplus(op.dt_projs_bias)
    assert steps.min() > 0.000999
    assert steps.max() < 0.1001
    # log-uniform: the median is the geometric mean of the limits
    assert steps.median().log().item() == pytest.approx(math.log(0.01), abs=0.3)
    assert op.dt_projs_weight.abs().max() <= 12**-0.5
    assert op.x_proj_weight.abs().max() <= 192**-0.5
    linears = [m for m in build().modules() if isinstance(m, nn.Linear)]
    assert all(0.015 < m.weight.std() < 0.025 for m in linears)


@pytest.mark.parametrize("shape", [(96, 96), (50, 37), (33, 64)])
def test_any_image_size(shape: tuple[int, int]) -> None:
    z = build()(torch.randn(2, 3, *shape))
    assert z.shape == (2, 768)
    assert torch.isfinite(z).all()


def test_memory_format_does_not_matter() -> None:
    backbone = build().eval()
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(
        backbone(x.contiguous(memory_format=torch.channels_last)), backbone(x), rtol=0, atol=1e-5
    )


def test_bfloat16_autocast_is_close_and_differentiable() -> None:
    backbone = build().eval()
    x = torch.randn(2, 3, 64, 64)
    exact = backbone(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coarse = backbone(x)
    assert functional.cosine_similarity(coarse.float(), exact).min() > 0.995
    coarse.float().square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in backbone.parameters())


def test_drop_path_grows_linearly() -> None:
    backbone = build(drop_path=0.2)
    rates = [block.drop_path.drop_prob for layer in backbone.layers for block in layer.blocks]
    assert rates == pytest.approx([0.2 * i / 13 for i in range(14)])
    x = torch.randn(2, 3, 32, 32)
    assert not torch.equal(backbone(x), backbone(x))
    assert torch.equal(backbone.eval()(x), backbone(x))


@pytest.mark.parametrize("settings", [{"patch_size": 4}, {"stem": "small"}, {"position_interpolation": "authors"}])
def test_options_of_other_backbones_are_rejected(settings: dict[str, object]) -> None:
    with pytest.raises(UserError, match="vmamba_tiny has no patch_size, small stem or position_interpolation"):
        build(**settings)


def test_second_derivatives_exist() -> None:
    """A penalty on the gradient, as equivariance regularisers use, trains VMamba too."""
    backbone = build()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 3, 32, 32, generator=generator, requires_grad=True)
    # Do not use the plain sum: the last LayerNorm makes it 0 for every image, so its slope would be rounding error.
    weight = torch.randn(backbone.feature_dim, generator=generator)
    [slope] = torch.autograd.grad((backbone(x) * weight).sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert backbone.layers[0].blocks[0].op.A_logs.grad.abs().sum() > 0
