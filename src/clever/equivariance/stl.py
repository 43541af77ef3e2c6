"""STL: the transformation is inferred from another pair of images (Yu et al., NeurIPS 2024, arXiv 2501.08712).

Two neighbouring images share the parameters of both views. The transformation between one image's views, encoded from
its features, must predict how the other image's features change. Details follow the authors' code
(jaemyung-u/stl:main.py, dataset.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clever.augmentation import ParameterSpace
from clever.baselines import HeadOutput
from clever.baselines.contrast import gather_projections
from clever.baselines.mlp import make_mlp
from clever.baselines.simclr import nt_xent
from clever.equivariance.batch import Batch, Term, contrast
from clever.equivariance.equivariance import Equivariance, whole
from clever.equivariance.hypernetwork import Hypernetwork
from clever.equivariance.options.stl import StlOptions


class Stl(Equivariance):
    """The baseline on the whole representation, plus ``stl`` and ``transformation``; gradients flow through all terms.

    The authors share crop, colour jitter and grayscale between two images, and draw flip and blur for each image; here,
    the two images share all parameters of a view. The authors' first term, the contrast, is the baseline's loss.

    >>> import torch
    >>> from clever.baselines.options.simclr import SimclrOptions
    >>> from clever.baselines.simclr import Simclr
    >>> from clever.equivariance import Encoded, Objective
    >>> from clever.equivariance.options.stl import StlOptions
    >>> from clever.equivariance.stl import Stl
    >>> _ = torch.manual_seed(0)
    >>> add_on = Stl(StlOptions(hidden_dim=32, out_dim=8), feature_dim=20)
    >>> objective = Objective(add_on, lambda changes: Simclr(SimclrOptions(hidden_dim=32, out_dim=8)))
    >>> heads, layers = objective.make_heads(), add_on.make_layers()
    >>> features = list(torch.randn(2, 32, 20))  # two views of 32 images
    >>> encoded = Encoded(features, {"ALL": [heads["ALL"](view) for view in features]}, heads, layers)
    >>> terms = objective.terms(objective.batch(encoded, encoded))
    >>> sum(term.weight * term.value for term in terms.values()).backward()
    >>> sorted(terms)
    ['contrast', 'stl', 'transformation']
    """

    def __init__(self, options: StlOptions, feature_dim: int, space: ParameterSpace | None = None) -> None:
        super().__init__(whole(feature_dim))
        self.options, self.feature_dim = options, feature_dim

    def make_layers(self, map_widths: Sequence[int] = ()) -> nn.ModuleDict:
        """``encoder``: two views' features [N, 2 D] to a code [N, T]; ``hypernetwork``: features and a code to
        features; ``projector`` of features; ``code_projector`` of codes."""
        o, code = self.options, self.options.transformation_dim
        return nn.ModuleDict(
            {
                "encoder": make_mlp([2 * self.feature_dim, code, code], final_bias=False),
                "hypernetwork": Hypernetwork(code, self.feature_dim, float(code), o.hypernetwork_start),
                "projector": make_mlp([self.feature_dim, o.hidden_dim, o.out_dim], final_bias=False),
                "code_projector": make_mlp([code, code, o.out_dim], final_bias=False),
            }
        )

    def terms(self, batch: Batch) -> dict[str, Term]:
        o, layers = self.options, batch.layers
        first, second = (view.float() for view in batch.student.features[:2])
        there = layers["encoder"](torch.cat([first, second], dim=1)).float()
        back = layers["encoder"](torch.cat([second, first], dim=1)).float()
        moved = [
            layers["hypernetwork"](second, of_partners(back)),
            layers["hypernetwork"](first, of_partners(there)),
        ]
        views = layers["projector"](torch.cat([first, second, *moved])).chunk(2)
        codes = layers["code_projector"](torch.cat([there, back]))
        equivariance = self._contrasted(*views)
        transformation = self._contrasted(codes[::2], codes[1::2])
        return contrast(batch) | {
            "stl": Term(equivariance, o.equivariance_weight),
            "transformation": Term(transformation, o.transformation_weight),
        }

    def _contrasted(self, first: Tensor, second: Tensor) -> Tensor:
        pair = gather_projections([HeadOutput(first), HeadOutput(second)])
        return nt_xent(pair[0], pair[1], temperature=self.options.temperature)


def of_partners(rows: Tensor) -> Tensor:
    """Swap rows 2i and 2i + 1 of [N, T]."""
    return rows.reshape(-1, 2, rows.shape[1]).flip(1).flatten(0, 1)
