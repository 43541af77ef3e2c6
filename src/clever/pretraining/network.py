"""A backbone with its heads: one student, and one teacher if the baseline has a momentum teacher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clever.backbones import Backbone
from clever.baselines import HeadOutput
from clever.buffers import unchanged_buffers
from clever.equivariance import Encoded, Heads

Maps = dict[int, Tensor]
"""Feature maps [N, C, H, W] by their indices (``Backbone.forward_with_maps``)."""


class Network(nn.Module):
    """Encodes the views of a batch: backbone, then one head on each part of the representation.

    Views of equal size go through the backbone together, as one batch, so that BatchNorm sees all global views at
    once and all local views at once (the multi-crop wrapper of DINO).

    Args:
        heads: one head for each part.
        parts: columns of the representation by the part's name.
        layers: extra layers of the student, which the objective applies.
        feature_maps: indices of the backbone's intermediate maps to return.
        views_apart: pass every view through backbone and heads separately, so that BatchNorm sees one view at a time
            (``BaselineOptions.views_apart``).
    """

    def __init__(
        self,
        backbone: Backbone,
        heads: Heads,
        parts: Mapping[str, slice],
        views_apart: bool = False,
        layers: nn.ModuleDict | None = None,
        feature_maps: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.feature_maps = tuple(feature_maps)
        self.views_apart = views_apart
        self.backbone = backbone
        self.heads = heads
        self.layers = nn.ModuleDict() if layers is None else layers
        self.parts = dict(parts)
        self._recomputes: Literal["nothing", "blocks", "backbone"] = "nothing"

    def forward(self, views: Sequence[Tensor], extra: Mapping[str, Tensor] | None = None) -> Encoded:
        """Map views, each [N, 3, H, W] with its own size, to the features and head outputs of each view.

        ``extra`` images [M, 3, H, W] go through the backbone only, in a separate pass for each name.
        """
        features, maps, outputs = self._encode_views(views)
        further = {name: self._encode(images) for name, images in (extra or {}).items()}
        return Encoded(
            features,
            outputs,
            self.heads,
            self.layers,
            {name: vectors for name, (vectors, _) in further.items()},
            maps,
            {name: of_images for name, (_, of_images) in further.items()},
        )

    def _encode_views(self, views: Sequence[Tensor]) -> tuple[list[Tensor], list[Maps], dict[str, list[HeadOutput]]]:
        """Features, maps and head outputs of every view."""
        if self.views_apart and len(views) > 1:
            singles = [self._encode_views([view]) for view in views]
            outputs = {part: [of_view[part][0] for _, _, of_view in singles] for part in self.parts}
            return [features[0] for features, _, _ in singles], [maps[0] for _, maps, _ in singles], outputs
        rows = len(views[0])
        encoded = [self._encode(torch.cat(group)) for group in _runs_of_equal_shape(views)]
        stacked = torch.cat([features for features, _ in encoded])
        maps = [of_view for features, of_group in encoded for of_view in _maps_per_view(of_group, rows, len(features))]
        outputs = {}
        for part, columns in self.parts.items():
            whole: HeadOutput = self.heads[part](stacked[:, columns])
            fields = (_per_view(field, rows, len(views)) for field in whole)
            outputs[part] = [HeadOutput(*view) for view in zip(*fields, strict=True)]
        return list(torch.split(stacked, rows)), maps, outputs

    def recompute_activations(self) -> None:
        """Keep only some of the backbone's activations for the backward pass, and recompute the others.

        Recomputation works block by block if timm supports that for the backbone. Otherwise the backbone is recomputed
        as a whole, once for each size of view, which saves less memory.
        """
        network = getattr(self.backbone, "network", None)
        try:
            network.set_grad_checkpointing(True)  # type: ignore[union-attr]
            self._recomputes = "blocks"
        except (AttributeError, AssertionError):  # not timm's, or a family without support
            self._recomputes = "backbone"

    @contextmanager
    def recomputing(self) -> Iterator[None]:
        """Freeze BatchNorm's running statistics during recomputation, which would otherwise count the batch twice."""
        with nullcontext() if self._recomputes == "nothing" else unchanged_buffers(self.backbone):
            yield

    def _encode(self, images: Tensor) -> tuple[Tensor, Maps]:
        recomputes = self._recomputes == "backbone"
        if self.feature_maps:
            with_maps = self.backbone.forward_with_maps
            if recomputes:
                return checkpoint(with_maps, images, self.feature_maps, use_reentrant=False)
            return with_maps(images, self.feature_maps)
        features = checkpoint(self.backbone, images, use_reentrant=False) if recomputes else self.backbone(images)
        return features, {}


def _runs_of_equal_shape(views: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    group: list[Tensor] = []
    for view in views:
        if group and view.shape != group[0].shape:
            yield group
            group = []
        group.append(view)
    yield group


def _per_view(field: Tensor | None, rows: int, views: int) -> Sequence[Tensor | None]:
    return [None] * views if field is None else torch.split(field, rows)


def _maps_per_view(maps: Maps, rows: int, total: int) -> list[Maps]:
    """Split maps of ``total`` rows into those of the views, with ``rows`` rows each."""
    return [
        {number: stacked[start : start + rows] for number, stacked in maps.items()} for start in range(0, total, rows)
    ]
