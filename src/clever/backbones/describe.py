"""The cost of a backbone: parameters, multiply-accumulates, widths and memory, counted rather than timed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from clever.backbones.backbone import Backbone
from clever.backbones.options import BackboneOptions
from clever.backbones.registry import build_backbone
from clever.backbones.representation import PAPER_RATIO, SPLITS, Split
from clever.backbones.vmamba import VMamba, scan_macs

PUBLISHED_COSTS: dict[str, tuple[str, str]] = {
    "vit_tiny": ("5.5", "1.26"),
    "vit_small": ("21.7", "4.61"),
    "resnet18": ("11.2", "1.83"),
    "resnet50": ("23.5", "4.14"),
    "vmamba_tiny": ("29.5", "4.84"),
}
"""The paper's parameters in millions and multiply-accumulates in billions at 224 px, as printed in its repository's
README."""

FLOAT_BYTES = 4
BATCH = 2  # images in the counted pass; batch normalisation on 1x1 maps fails with one image


def describe(name: str, image_size: int, ratio: float = PAPER_RATIO, batch_size: int = 128) -> dict[str, Any]:
    """The cost of backbone ``name`` for square images of ``image_size`` px.

    Returns:
        name, image_size, ratio, batch_size;
        parameters: without any classifier;
        macs: multiply-accumulates of one image's forward pass: convolutions, matrix products, attention's two products
        and VMamba's scan (six per position, channel and direction); no norms, activations, softmax or pooling;
        feature_dim, ir_dim, ef_dim: widths of representation, invariant representation and equivariant factor;
        activation_bytes: memory kept for the backward pass of one image, in float32; training_bytes: one step on
        ``batch_size`` images of this size in float32: activations, and four numbers per parameter (weight, gradient,
        AdamW's two moments).

    Memory is counted from the tensors that autograd keeps, on the meta device. It excludes heads, teacher, further
    views, workspaces and the allocator's overhead.

    Raises:
        UserError: the name is unknown, or the backbone does not support the image size or ratio.
    """
    backbone = build_backbone(BackboneOptions(name=name, image_size=image_size), seed=0)
    split = Split(backbone.feature_dim, ratio)
    parameters = sum(p.numel() for p in backbone.parameters())
    activations = saved_bytes(backbone, image_size)
    return {
        "name": name,
        "image_size": image_size,
        "ratio": ratio,
        "batch_size": batch_size,
        "parameters": parameters,
        "macs": count_macs(backbone, image_size),
        "feature_dim": backbone.feature_dim,
        "ir_dim": split.ir_dim,
        "ef_dim": split.ef_dim,
        "activation_bytes": activations,
        "training_bytes": batch_size * activations + 4 * FLOAT_BYTES * parameters,
    }


def count_macs(backbone: Backbone, image_size: int) -> int:
    """Multiply-accumulates of one image's forward pass; moves ``backbone`` to the meta device permanently."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        backbone.to("meta").eval()(torch.empty(1, 3, image_size, image_size, device="meta"))
    # torch's counter counts two operations per multiply-accumulate, and omits the scan's pointwise operations.
    return int(counter.get_total_flops()) // 2 + (scan_macs(image_size) if isinstance(backbone, VMamba) else 0)


def saved_bytes(network: nn.Module, image_size: int) -> int:
    """Bytes that autograd keeps for one image's backward pass; moves ``network`` to the meta device permanently."""
    network.to("meta").train()
    owned = {_storage(tensor) for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, Tensor] = {}  # keeps the tensors alive, so that the identity of a storage is not reused

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in owned:
            kept[_storage(tensor)] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.empty(BATCH, 3, image_size, image_size, device="meta"))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) // BATCH


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def backbone_table() -> str:
    """The five backbones of the paper as a Markdown table, counted and published; part of docs/backbones.md."""
    lines = [
        "| backbone | parameters (M) | published | MACs at 224 px (G) | published | at 96 px (G) | features | "
        "IR \\| EF | memory of a step, 128 images of 224 px (GB) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in SPLITS:
        large, small = describe(name, 224), describe(name, 96)
        parameters, macs = PUBLISHED_COSTS[name]
        lines.append(
            f"| `{name}` | {large['parameters'] / 1e6:.1f} | {parameters} | {large['macs'] / 1e9:.2f} | {macs} | "
            f"{small['macs'] / 1e9:.2f} | {large['feature_dim']} | {large['ir_dim']} \\| {large['ef_dim']} | "
            f"{large['training_bytes'] / 1e9:.1f} |"
        )
    return "\n".join(lines)
