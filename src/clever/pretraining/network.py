"""A backbone with its heads: one student, and one teacher where the baseline has a momentum teacher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clever.backbones import Backbone
from clever.baselines import HeadOutput
from clever.buffers import unchanged_buffers
from clever.equivariance import Encoded


class Network(nn.Module):
    """Encodes the views of a batch: backbone, then one head on each part of the representation.

    Views of equal size go through the backbone together, as one batch, so that BatchNorm sees all global views at
    once and all local views at once (the multi-crop wrapper of DINO).

    Args:
        layers: further layers of the student, which the objective applies.
        views_apart: every view goes through backbone and heads in a pass of its own instead, and BatchNorm sees one
            view at a time (``Baseline.views_apart``).
    """

    def __init__(
        self,
        backbone: Backbone,
        heads: nn.ModuleDict,
        parts: Mapping[str, slice],
        views_apart: bool = False,
        layers: nn.ModuleDict | None = None,
    ) -> None:
        super().__init__()
        self.views_apart = views_apart
        self.backbone = backbone
        self.heads = heads
        self.layers = nn.ModuleDict() if layers is None else layers
        self.parts = dict(parts)
        self._recomputes: Literal["nothing", "blocks", "backbone"] = "nothing"

    def forward(self, views: Sequence[Tensor], extra: Mapping[str, Tensor] | None = None) -> Encoded:
        """Views, each [N, 3, H, W] with its own size, to features and head outputs of each view.

        ``extra`` images [M, 3, H, W] go through the backbone alone, each name in a pass of its own.
        """
        encoded = self._encode_views(views)
        if not extra:
            return encoded
        return replace(encoded, extra={name: self._encode(images) for name, images in extra.items()})

    def _encode_views(self, views: Sequence[Tensor]) -> Encoded:
        if self.views_apart and len(views) > 1:
            return _side_by_side([self._encode_views([view]) for view in views])
        stacked = torch.cat([self._encode(torch.cat(group)) for group in _runs_of_equal_shape(views)])
        rows = len(views[0])
        outputs = {}
        for part, columns in self.parts.items():
            whole: HeadOutput = self.heads[part](stacked[:, columns])
            fields = (_per_view(field, rows, len(views)) for field in whole)
            outputs[part] = [HeadOutput(*view) for view in zip(*fields, strict=True)]
        return Encoded(list(torch.split(stacked, rows)), outputs)

    def recompute_activations(self) -> None:
        """Keep few of the backbone's activations for the backward pass, and compute the others a second time.

        Block by block where the backbone is timm's and can; else for the backbone as a whole, once for each size of
        view, which saves less.
        """
        network = getattr(self.backbone, "network", None)
        try:
            network.set_grad_checkpointing(True)  # type: ignore[union-attr]
            self._recomputes = "blocks"
        except (AttributeError, AssertionError):  # not timm's, or a family that cannot
            self._recomputes = "backbone"

    @contextmanager
    def recomputing(self) -> Iterator[None]:
        """Hold BatchNorm's running statistics: a backward pass that recomputes would count its batch twice."""
        with nullcontext() if self._recomputes == "nothing" else unchanged_buffers(self.backbone):
            yield

    def _encode(self, images: Tensor) -> Tensor:
        if self._recomputes == "backbone":
            features: Tensor = checkpoint(self.backbone, images, use_reentrant=False)
            return features
        return self.backbone(images)  # type: ignore[no-any-return]


def _runs_of_equal_shape(views: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    group: list[Tensor] = []
    for view in views:
        if group and view.shape != group[0].shape:
            yield group
            group = []
        group.append(view)
    yield group


def _side_by_side(views: Sequence[Encoded]) -> Encoded:
    """What one network made of single views, as what it made of all."""
    outputs = {part: [view.outputs[part][0] for view in views] for part in views[0].outputs}
    return Encoded([view.features[0] for view in views], outputs)


def _per_view(field: Tensor | None, rows: int, views: int) -> Sequence[Tensor | None]:
    return [None] * views if field is None else torch.split(field, rows)
