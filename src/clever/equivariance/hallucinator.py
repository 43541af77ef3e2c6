"""Hallucinator: additional positives, generated in the space of the baseline's outputs (Wu et al. 2023, arXiv
2307.12168).

A small network gets an output p of one view and a point beyond p on the line from the other view's output k through p.
It returns a positive g that is harder than p (jingwu6:models/generator.py, models/{simsiam,moco}.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clever.augmentation import ParameterSpace
from clever.baselines import HeadOutput
from clever.baselines.mlp import make_mlp
from clever.equivariance.batch import Batch, ComparedPart, Term
from clever.equivariance.equivariance import Equivariance, whole
from clever.equivariance.options.hallucinator import HallucinatorOptions


class Hallucinator(Equivariance):
    """``contrast``, the baseline's loss on its own outputs, plus ``hallucination``, the same loss on hallucinated
    outputs. Each has weight 1/2, which equals the authors' mean over a batch of both.

    p is the prediction of a baseline with a predictor, otherwise the projection. k is the prediction of the other view,
    or the target's projection of the other view if there is no predictor; it gets no gradient. These follow the
    authors' SimSiam and MoCo. With a baseline whose targets are the other view's own projection, only one view is
    replaced at a time, and a hallucinated positive is not a negative of its own image. Both are our choices, as is the
    use with baselines other than simsiam, simclr and moco_v2.

    >>> import torch
    >>> from clever.baselines.options.simclr import SimclrOptions
    >>> from clever.baselines.simclr import Simclr
    >>> from clever.equivariance import Encoded, Objective
    >>> from clever.equivariance.hallucinator import Hallucinator
    >>> from clever.equivariance.options.hallucinator import HallucinatorOptions
    >>> _ = torch.manual_seed(0)
    >>> add_on = Hallucinator(HallucinatorOptions(), feature_dim=20)
    >>> add_on.output_dim = 8  # of the baseline's projection, as the network sets it
    >>> objective = Objective(add_on, lambda changes: Simclr(SimclrOptions(hidden_dim=32, out_dim=8)))
    >>> heads, layers = objective.make_heads(), add_on.make_layers()
    >>> features = list(torch.randn(2, 32, 20))  # two views of 32 images
    >>> encoded = Encoded(features, {"ALL": [heads["ALL"](view) for view in features]}, heads, layers)
    >>> terms = objective.terms(objective.batch(encoded, encoded))
    >>> sum(term.weight * term.value for term in terms.values()).backward()
    >>> sorted(terms)
    ['contrast', 'hallucination']
    """

    def __init__(self, options: HallucinatorOptions, feature_dim: int, space: ParameterSpace | None = None) -> None:
        super().__init__(whole(feature_dim))
        self.options = options

    def make_layers(self, map_widths: Sequence[int] = ()) -> nn.ModuleDict:
        """``generator``: [N, 2 K] to [N, K], three linear layers with ReLU between them."""
        assert self.output_dim is not None
        inputs = 2 * self.output_dim
        hidden = self.options.hidden_dim or inputs
        return nn.ModuleDict({"generator": make_mlp([inputs, hidden, hidden, self.output_dim], hidden_norm=False)})

    def terms(self, batch: Batch) -> dict[str, Term]:
        part, generator = batch.parts["ALL"], batch.layers["generator"]
        real = part.student[:2]
        made = [self._hallucinated(part, number, generator) for number in range(2)]
        if part.baseline.options.has_momentum_teacher or real[0].prediction is not None:
            value = part.baseline.attract([*made, *part.student[2:]], part.teacher, part.head)
        else:
            halves = [[made[0], real[1]], [real[0], made[1]]]
            losses = [part.baseline.attract([*half, *part.student[2:]], half, part.head) for half in halves]
            value = torch.stack(losses).mean()
        return {"contrast": Term(part.attract(), 0.5), "hallucination": Term(value, 0.5)}

    def _hallucinated(self, part: ComparedPart, number: int, generator: nn.Module) -> HeadOutput:
        """The output of a global view with its prediction, or its projection, replaced."""
        own, other = part.student[number], part.student[1 - number]
        predicts = own.prediction is not None
        p = (own.prediction if own.prediction is not None else own.projection).float()
        k = (other.prediction if other.prediction is not None else part.teacher[1 - number].projection).float().detach()
        reach = self.options.largest_extrapolation * torch.rand(len(p), 1, device=p.device)
        made: Tensor = generator(torch.cat([p, (1 + reach) * p - reach * k], dim=1))
        return own._replace(prediction=made) if predicts else own._replace(projection=made)
