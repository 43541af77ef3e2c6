"""Features that several protocols of one job use, computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from torch import Tensor

from clever.backbones import Backbone

LIMIT = 2**32
"""Bytes of features that a job keeps: 4 GiB, the training images of ImageNet-100 at width 2048 four times over."""


class SharedFeatures:
    """Keeps what one frozen backbone gave for a split of a store under one view.

    A key names everything that decides the features but the backbone and the store: split, view, blocks, seed,
    extraction options. Each caller gets a copy, so that no protocol can change what another one reads.

    Args:
        backbone: whose features these are. Those of another backbone, such as a copy that is fine-tuned, are never
            kept.
        limit: bytes to keep; features that do not fit are computed whenever they are needed.
    """

    def __init__(self, backbone: Backbone, limit: int = LIMIT) -> None:
        self._backbone = backbone
        self._left = limit
        self._kept: dict[Hashable, Tensor] = {}

    def get(self, backbone: Backbone, key: Hashable, compute: Callable[[], Tensor]) -> Tensor:
        """The features of ``key``, [N, width] on the CPU; ``compute`` makes them where they are not kept."""
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
