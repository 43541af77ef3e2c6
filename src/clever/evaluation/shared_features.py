"""Features shared by the protocols of one job and computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from torch import Tensor

from clever.backbones import Backbone

LIMIT = 2**32
"""Limit in bytes of the features that a job keeps: 4 GiB, four times the training features of ImageNet-100 at width
2048."""


class SharedFeatures:
    """Keeps the features that a frozen backbone computed for a split of a store under one view.

    A key contains everything that affects the features except for the backbone and the store: split, view, blocks, seed
    and extraction options. Each caller gets a copy, so that no protocol can change what another one reads.

    Args:
        backbone: the backbone of the features. Features of another backbone, such as a fine-tuned copy, are never kept.
        limit: number of bytes to keep; features that do not fit are computed whenever they are needed.
    """

    def __init__(self, backbone: Backbone, limit: int = LIMIT) -> None:
        self._backbone = backbone
        self._left = limit
        self._kept: dict[Hashable, Tensor] = {}

    def get(self, backbone: Backbone, key: Hashable, compute: Callable[[], Tensor]) -> Tensor:
        """The features of ``key``, [N, width] on the CPU; if they are not kept, ``compute`` computes them."""
        if backbone is not self._backbone:
            return compute()
        if key in self._kept:
            return self._kept[key].clone()
        features = compute()
        size = features.numel() * features.element_size()
        if size <= self._left:
            self._kept[key] = features.clone()
            self._left -= size
        return features
