"""Two different photographs of every object, redrawn in every epoch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from clever.data.store import Split
from clever.errors import UserError


class Pairs:
    """The objects of a split that have at least two images, in the order of their numbers.

    An object with a single image, because the others were unreadable, has no pair and is skipped.

    Raises :class:`UserError` if the store does not record which images show the same object, or no object has two.
    """

    def __init__(self, split: Split) -> None:
        if split.groups is None:
            raise UserError(
                f"{split.folder}: does not record which images show the same object, so there are no pairs; "
                "use source threediebench"
            )
        counts = torch.from_numpy(np.unique(split.groups.numpy(), return_counts=True)[1])
        starts = counts.cumsum(0) - counts
        enough = counts >= 2
        if not enough.any():
            raise UserError(f"{split.folder}: no object of the {split.name} split has two images")
        self._rows = split.groups.argsort(stable=True)
        self._starts, self._counts = starts[enough], counts[enough]

    def __len__(self) -> int:
        """Number of objects with a pair."""
        return len(self._counts)

    def draw(self, generator: torch.Generator) -> Tensor:
        """Rows of two distinct images of every object, all ordered pairs equally likely: int64 [objects, 2]."""
        uniforms = torch.rand(len(self), 2, generator=generator, dtype=torch.float64)
        first = (uniforms[:, 0] * self._counts).long()
        second = (uniforms[:, 1] * (self._counts - 1)).long()
        second += second >= first
        return torch.stack([self._rows[self._starts + first], self._rows[self._starts + second]], 1)
