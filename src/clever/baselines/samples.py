"""Facts about the images that a baseline may use in addition to the outputs of its head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from clever.collectives import gather_rows


class Samples(NamedTuple):
    """The images behind the two global views; entry [v, i] belongs to row i of the outputs of view v.

    Two augmented views of one image have equal entries; two views of an object have the entries of two photographs.
    """

    indices: Tensor
    """int64 [2, N]: rows in the training split."""
    labels: Tensor
    """int64 [2, N]."""
    latents: Tensor | None = None
    """float32 [2, N, L], in the order of the data source; None if the source has no latents."""
    maps: Sequence[Mapping[int, Tensor]] | None = None
    """The teacher's feature maps [N, C, H, W] of both views, by index; None unless the baseline needs some."""

    def chunk(self, chunks: int) -> list[Samples]:
        """Split the samples into ``chunks`` equal chunks, in order, without maps."""
        latents = [None] * chunks if self.latents is None else self.latents.chunk(chunks, dim=1)
        rows = zip(self.indices.chunk(chunks, dim=1), self.labels.chunk(chunks, dim=1), latents, strict=True)
        return [Samples(*chunk) for chunk in rows]


def gather_samples(values: Tensor) -> Tensor:
    """Gather the entries [2, N, ...] of all processes into [2, total N, ...], in the order of ``gather_rows``."""
    return gather_rows(values.transpose(0, 1)).transpose(0, 1)
