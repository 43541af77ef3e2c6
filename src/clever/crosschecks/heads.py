"""The heads of a method, built without a device: which layers they contain and how large they are."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from torch import nn

from clever.baselines import BASELINES
from clever.baselines.contrast import Projected

if TYPE_CHECKING:
    from clever.pretraining.recipe import MethodOptions

_FEATURES = 256
"""Width of the representation and of feature maps that the heads are built for; the narrowest backbone of the paper has
192."""


def has_batch_norm(method: MethodOptions) -> bool:
    """Whether a head of the method has BatchNorm."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in _heads(method).modules())


def compares_images(method: MethodOptions) -> bool:
    """Whether the baseline compares an image with the other images of its batch."""
    return issubclass(BASELINES[method.baseline.name].kind, Projected)


def head_bytes(method: MethodOptions) -> int:
    """Bytes of the weights of the method's heads, in float32."""
    return sum(4 * parameter.numel() for parameter in _heads(method).parameters())


@functools.cache
def _heads_of(canonical: str) -> nn.Module:
    from clever.options import parse_json
    from clever.pretraining.composition import build_objective
    from clever.pretraining.recipe import MethodOptions as Method

    method = parse_json(Method, canonical, "method")
    if method.equivariance.name not in ("none", "ddcl", "clever"):
        # The heads of other add-ons depend on the views and are small; the baseline's head is the large one.
        method = method.model_copy(update={"equivariance": Method.model_fields["equivariance"].default})
    with torch.device("meta"):
        objective = build_objective(method, _FEATURES)
        objective.prepare(map_widths=(_FEATURES,) * (1 + max(method.baseline.needed_maps(), default=0)))
        return objective.make_heads()


def _heads(method: MethodOptions) -> nn.Module:
    return _heads_of(method.canonical())
