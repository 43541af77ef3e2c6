"""A backbone with its heads: one student, and one teacher where the baseline has a momentum teacher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from clever.backbones import Backbone
from clever.baselines import HeadOutput
from clever.equivariance import Encoded


class Network(nn.Module):
    """Encodes the views of a batch: backbone, then one head on each part of the representation.

    Views of equal size go through the backbone together, as one batch, so that BatchNorm sees all global views at
    once and all local views at once (the multi-crop wrapper of DINO).
    """

    def __init__(self, backbone: Backbone, heads: nn.ModuleDict, parts: Mapping[str, slice]) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = heads
        self.parts = dict(parts)

    def forward(self, views: Sequence[Tensor]) -> Encoded:
        """Views, each [N, 3, H, W] with its own size, to features and head outputs of each view."""
        stacked = torch.cat([self.backbone(torch.cat(group)) for group in _runs_of_equal_shape(views)])
        rows = len(views[0])
        outputs = {}
        for part, columns in self.parts.items():
            whole: HeadOutput = self.heads[part](stacked[:, columns])
            outputs[part] = [HeadOutput(*fields) for fields in zip(*(_per_view(f, rows, len(views)) for f in whole), strict=True)]
        return Encoded(list(stacked.split(rows)), outputs)


def _runs_of_equal_shape(views: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    group: list[Tensor] = []
    for view in views:
        if group and view.shape != group[0].shape:
            yield group
            group = []
        group.append(view)
    yield group


def _per_view(field: Tensor | None, rows: int, views: int) -> Sequence[Tensor | None]:
    return [None] * views if field is None else field.split(rows)
