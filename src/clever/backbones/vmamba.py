"""VMamba-Tiny as the paper uses it, without compiled kernels.

The variant is that of the authors' vssm2/vmambav2_tiny_224.yaml: widths 96-192-384-768, depths 2-2-8-2, one state per
channel, no expansion and no gating branch (ssm_ratio 1, "v05_noz"), MLP ratio 4; 29,480,064 parameters without
classifier. A block is x += DropPath(SS2D(LN(x))); x += DropPath(MLP(LN(x))).

Parameter names, for loading the file elsewhere (D channels, R = D / 16 rounded up, i stage, j block)::

    patch_embed.0, .5                                    3×3 stride-2 convolutions
    patch_embed.2, .7                                    their LayerNorms
    layers.i.blocks.j.norm, .norm2, .mlp.fc1, .mlp.fc2
    layers.i.blocks.j.op.in_proj.weight [D, D]
    layers.i.blocks.j.op.conv2d [D, 1, 3, 3]             depthwise
    layers.i.blocks.j.op.out_norm, .out_proj.weight [D, D]
    layers.i.blocks.j.op.x_proj_weight [4, R + 2, D]     rows: R of the step, then B, then C
    layers.i.blocks.j.op.dt_projs_weight [4, D, R], .dt_projs_bias [4, D]
    layers.i.blocks.j.op.A_logs [4·D, 1], .Ds [4·D]
    layers.i.downsample.1                                3×3 stride-2 convolution
    layers.i.downsample.3                                its LayerNorm
    classifier.norm                                      LayerNorm before pooling

The four directions are, in order: rows, columns, rows backwards, columns backwards.
"""

from __future__ import annotations

import math

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional

from clever.backbones.backbone import Backbone
from clever.backbones.options import BackboneOptions
from clever.backbones.selective_scan import selective_scan
from clever.errors import UserError

WIDTHS = (96, 192, 384, 768)
DEPTHS = (2, 2, 8, 2)
DIRECTIONS = 4


class VMamba(Backbone):
    """VMamba-Tiny: images [N, 3, H, W] of any size to [N, 768]; the last map is ⌈H/32⌉×⌈W/32⌉."""

    def __init__(self, options: BackboneOptions) -> None:
        super().__init__(options.name, WIDTHS[-1])
        self.patch_embed = _patch_embedding(WIDTHS[0])
        rates = torch.linspace(0, options.drop_path, sum(DEPTHS)).tolist()
        self.layers = nn.Sequential()
        for stage, (width, depth) in enumerate(zip(WIDTHS, DEPTHS, strict=True)):
            layer = nn.Sequential()
            layer.add_module("blocks", nn.Sequential(*[_Block(width, rates.pop(0)) for _ in range(depth)]))
            if stage + 1 < len(DEPTHS):
                layer.add_module("downsample", _downsampling(width))
            self.layers.append(layer)
        self.classifier = nn.Sequential()
        self.classifier.add_module("norm", _ChannelNorm(WIDTHS[-1]))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.last_map(images).mean((2, 3))

    def last_map(self, images: Tensor) -> Tensor:
        maps = self.layers(self.patch_embed(images.contiguous(memory_format=torch.channels_last)))
        normed: Tensor = self.classifier(maps)
        return normed

    def _undecayed_by_design(self) -> set[str]:
        # Weight decay would pull decay rates to -1 and step sizes to softplus(0), which sets a time scale instead of
        # shrinking weights.
        scales = ("A_logs", "Ds", "dt_projs_bias")
        return {name for name, _ in self.named_parameters() if name.endswith(scales)}


def build_vmamba(options: BackboneOptions) -> VMamba:
    """VMamba-Tiny with ``options.drop_path``; patch size and stem are fixed."""
    if options.patch_size is not None or options.stem == "small" or options.position_interpolation == "authors":
        raise UserError(
            f"backbone {options.name} has no patch_size, small stem or position_interpolation: leave them out"
        )
    return VMamba(options)


def scan_macs(image_size: int) -> int:
    """Multiply-accumulates of all selective scans for one square image: six per position, channel and direction.

    They are Δ·A, Δ·u, ·B, the recurrence, C·h and D·u; exponentials and softplus are excluded, as by other counters.
    """
    side, total = image_size, 0
    for _ in range(2):
        side = (side + 1) // 2
    for width, depth in zip(WIDTHS, DEPTHS, strict=True):
        total += 6 * depth * DIRECTIONS * width * side**2
        side = (side + 1) // 2
    return total


class _ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of [N, C, H, W]; no copy if the map is channels-last in memory."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _patch_embedding(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, width // 2, 3, stride=2, padding=1),
        nn.Identity(),
        _ChannelNorm(width // 2),
        nn.Identity(),
        nn.GELU(),
        nn.Conv2d(width // 2, width, 3, stride=2, padding=1),
        nn.Identity(),
        _ChannelNorm(width),
    )


def _downsampling(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Identity(), nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.Identity(), _ChannelNorm(2 * width)
    )


class _Block(nn.Module):
    def __init__(self, width: int, drop_path: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.op = SS2D(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = _MLP(width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = x + self.drop_path(self.op(self.norm(x)))
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x.permute(0, 3, 1, 2)


class _MLP(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return y


class SS2D(nn.Module):
    """Selective scan of a map [N, H, W, D] along its rows and columns, in both directions; same shape out.

    The projections of a position do not depend on other positions, so forward and backward scans share one copy of the
    map in row order and one in column order; nothing is flipped (authors' vmamba.py:376-698 does the same with four
    copies).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rank = math.ceil(width / 16)
        self.in_proj = nn.Linear(width, width, bias=False)
        self.conv2d = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.x_proj_weight = nn.Parameter(torch.empty(DIRECTIONS, self.rank + 2, width))
        self.dt_projs_weight = nn.Parameter(torch.empty(DIRECTIONS, width, self.rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(DIRECTIONS, width))
        self.A_logs = nn.Parameter(torch.zeros(DIRECTIONS * width, 1))
        self.Ds = nn.Parameter(torch.ones(DIRECTIONS * width))
        self.out_norm = nn.LayerNorm(width)
        self.out_proj = nn.Linear(width, width, bias=False)
        nn.init.uniform_(self.x_proj_weight, -(width**-0.5), width**-0.5)
        nn.init.uniform_(self.dt_projs_weight, -(self.rank**-0.5), self.rank**-0.5)
        with torch.no_grad():  # softplus(bias) is log-uniform in [0.001, 0.1]
            steps = torch.exp(torch.empty(DIRECTIONS, width).uniform_(math.log(0.001), math.log(0.1)))
            self.dt_projs_bias.copy_(steps + torch.log(-torch.expm1(-steps)))

    def forward(self, x: Tensor) -> Tensor:
        n, height, width, channels = x.shape
        x = functional.silu(self.conv2d(self.in_proj(x).permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        u = torch.stack([x.flatten(1, 2), x.transpose(1, 2).flatten(1, 2)])  # [2, N, L, D]
        # One product for both directions of a layout: [2, D, directions · (R + 2)].
        weight = self.x_proj_weight.view(2, 2, -1, channels).transpose(0, 1).flatten(1, 2).transpose(1, 2)
        projected = torch.bmm(u.flatten(1, 2), weight).view(2, -1, 2, self.rank + 2)
        rates = -self.A_logs.exp().view(DIRECTIONS, channels)
        skips = self.Ds.view(DIRECTIONS, channels)
        y: Tensor | None = None
        for sense, reverse in enumerate((False, True)):
            pair = slice(2 * sense, 2 * sense + 2)
            low, b, c = torch.split(projected[:, :, sense], [self.rank, 1, 1], dim=-1)
            step = torch.bmm(low, self.dt_projs_weight[pair].transpose(1, 2))
            scanned = selective_scan(
                u,
                step.view_as(u),
                rates[pair],
                b.view(u.shape[:-1]),
                c.view(u.shape[:-1]),
                skips[pair],
                self.dt_projs_bias[pair],
                reverse=reverse,
            )
            y = scanned if y is None else y + scanned
        assert y is not None
        rows, columns = y[0].view(n, height, width, channels), y[1].view(n, width, height, channels)
        merged: Tensor = self.out_proj(self.out_norm(rows + columns.transpose(1, 2)))
        return merged
