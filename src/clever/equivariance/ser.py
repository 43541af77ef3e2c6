"""SER: soft equivariance regularisation of an early feature map (ICLR 2026, arXiv 2603.06693).

The feature map of a rotated image is compared, cell by cell, with the rotated feature map of the image. Details follow
the authors' code (aitrics-chris/SER, dbe5e93).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clever.augmentation import ParameterSpace, View
from clever.baselines.contrast import scaled_products
from clever.equivariance.batch import Batch, Encoded, Term, contrast
from clever.equivariance.equivariance import Equivariance, whole
from clever.equivariance.options.ser import TURNED, UPRIGHT, SerOptions


class Ser(Equivariance):
    """The baseline on the whole representation, plus ``ser``, an InfoNCE loss between the cells of two maps.

    Two copies of a crop have different colours, and one copy is rotated and mirrored. A cell's positive is the cell of
    the same image that the same transformation moves to its position; its negatives are all cells of the other images.
    Each copy in turn provides the target: the momentum teacher's map, or the student's without a teacher. Gradients
    reach the projector from both sides.

    We made these choices. The eight symmetries of the square are applied to the images of a batch in turn, and the size
    of the grid is never changed. The compared images are also part of the baseline's batch. A ViT keeps its [CLS] token
    in the first blocks.
    """

    teacher_sees_extra = True

    def __init__(self, options: SerOptions, feature_dim: int, space: ParameterSpace | None = None) -> None:
        super().__init__(whole(feature_dim))
        self.options = options
        self.feature_maps = (options.feature_map,)

    def make_layers(self, map_widths: Sequence[int] = ()) -> nn.ModuleDict:
        """``projector``: cells [M, C] to [M, projector_dim], a LayerNorm and two layers without biases."""
        channels, width = map_widths[self.options.feature_map], self.options.projector_dim
        return nn.ModuleDict(
            {
                "projector": nn.Sequential(
                    nn.LayerNorm(channels),
                    nn.Linear(channels, width, bias=False),
                    nn.GELU(),
                    nn.Linear(width, width, bias=False),
                )
            }
        )

    def extra_images(self, views: Mapping[str, View]) -> dict[str, Tensor]:
        """``upright`` and ``turned`` [images, 3, S, S]."""
        count = self.options.images
        return {UPRIGHT: views[UPRIGHT].images[:count], TURNED: moved(views[TURNED].images[:count])}

    def terms(self, batch: Batch) -> dict[str, Term]:
        student, teacher = (self._cells(encoded, batch.layers) for encoded in (batch.student, batch.teacher))
        losses = [
            cell_contrast(student[copy], teacher[other], self.options.temperature)
            for copy, other in ((UPRIGHT, TURNED), (TURNED, UPRIGHT))
        ]
        return contrast(batch) | {"ser": Term(torch.stack(losses).mean(), self.options.ser_weight)}

    def _cells(self, encoded: Encoded, layers: nn.ModuleDict) -> dict[str, Tensor]:
        """Projected cells as unit vectors [images, cells, K] of both copies, in the positions of the rotated copy."""
        maps = {name: encoded.extra_maps[name][self.options.feature_map].float() for name in (UPRIGHT, TURNED)}
        maps[UPRIGHT] = moved(maps[UPRIGHT])
        return {
            name: F.normalize(layers["projector"](of_copy.flatten(2).transpose(1, 2)).float(), dim=2)
            for name, of_copy in maps.items()
        }


def moved(images: Tensor) -> Tensor:
    """Rotate the i-th of the images or maps [N, C, S, S] by i quarter turns, and mirror every second group of four."""
    turned = [torch.rot90(image, number % 4, (1, 2)) for number, image in enumerate(images.unbind())]
    return torch.stack([image.flip(2) if number // 4 % 2 else image for number, image in enumerate(turned)])


def cell_contrast(cells: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Mean over cells of -log [exp(s.t / T) / (exp(s.t / T) + sum_n exp(s.n / T))].

    Args:
        cells: s, unit vectors float32 [N, M, K] of M cells of each image.
        targets: the same shape; t is the cell at the same place, n are all cells of the other images.

    >>> import torch
    >>> cells = torch.eye(4).reshape(2, 2, 4)  # two images of two cells
    >>> round(cell_contrast(cells, cells, 1.0).item(), 4)  # log(1 + 2 / e)
    0.5514
    """
    images, places, width = cells.shape
    logits = scaled_products(cells.reshape(-1, width), targets.reshape(-1, width), temperature)
    own = torch.arange(images * places, device=cells.device)
    image = own // places
    same_image = image.unsqueeze(1) == image
    other_place = own.unsqueeze(1) != own
    return F.cross_entropy(logits.masked_fill(same_image & other_place, -torch.inf), own)
