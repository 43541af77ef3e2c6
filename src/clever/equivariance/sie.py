"""SIE: one half of the representation is invariant, the other follows the transformation (arXiv 2302.10283).

Garrido, Najman and LeCun, ICML 2023. Let e = [e_inv; e_eq] and e' be the embeddings of two views, q the relative
transformation from the first view to the second, and V and C the variance and covariance terms of VICReg. The loss is

    L = s MSE(e_inv, e'_inv) + s g MSE(W(q) e_eq, e'_eq) + v [V(e) + V(e')] / 2 + v V(W(q) e_eq) / 2 + c [C(e) + C(e')]

where s = 10, v = 10, c = 1, and V and C are computed on the whole embedding e. The weight g is 0.45 in the README's
command and 4.5, the default, in the authors' argument parser; s g = 4.5 follows the README.

The authors combine SIE with VICReg only. Here e_inv is the output of the run's baseline for the IR, and the baseline's
own attraction replaces the first term. e_eq has a separate projector, which is not a baseline's head, so SIE composes
with any baseline. By default, V and C are computed on e_eq alone, and the baseline must keep e_inv from collapsing. The
authors' exact loss is ``moments_of: whole`` with a VICReg whose own moments are off, because this add-on computes them
on the whole embedding:

    baseline: {name: vicreg, hidden_dim: 1024, out_dim: 1024, invariance_weight: 10, variance_weight: 0,
               covariance_weight: 0}
    equivariance: {name: sie, moments_of: whole, hypernetwork_start: linear}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clever.augmentation import ParameterSpace
from clever.augmentation.options.views import FIRST, SECOND
from clever.augmentation.views import varied_space
from clever.backbones.representation import Split
from clever.baselines.vicreg import covariance, variance_hinge
from clever.collectives import gather_rows, process_count
from clever.equivariance.batch import Batch, Term, contrast
from clever.equivariance.equivariance import Equivariance, Part
from clever.equivariance.options.sie import SieOptions
from clever.equivariance.predictor import Predictor, PredictorShape
from clever.errors import UserError


class Sie(Equivariance):
    """``contrast``: the baseline's attraction on the IR. On the EF's embedding: ``equivariance``, the mean squared
    error of the prediction, ``variance``, ``predicted_variance`` and ``covariance``.

    >>> import torch
    >>> from clever.augmentation import Augmentation, AugmentationOptions
    >>> from clever.baselines.options.simclr import SimclrOptions
    >>> from clever.baselines.simclr import Simclr
    >>> from clever.equivariance import Encoded, Objective
    >>> from clever.equivariance.options.sie import SieOptions
    >>> from clever.equivariance.sie import Sie
    >>> _ = torch.manual_seed(0)
    >>> options = SieOptions(hidden_dim=32, out_dim=32)
    >>> recipe = AugmentationOptions(name="caug", global_size=16, local_views=0)
    >>> make_views = Augmentation(recipe, mean=[0.5] * 3, std=[0.5] * 3, extra=options.extra_views())
    >>> pixels = torch.randint(0, 256, (32, 3, 16, 16), dtype=torch.uint8)
    >>> made = make_views(pixels, torch.full((32, 2), 16), torch.Generator().manual_seed(0))
    >>> views = dict(zip(make_views.names, made))
    >>> add_on = Sie(options, feature_dim=20, space=make_views.space)
    >>> objective = Objective(add_on, lambda changes: Simclr(SimclrOptions(hidden_dim=32, out_dim=8)))
    >>> heads, layers, backbone = objective.make_heads(), add_on.make_layers(), torch.nn.Linear(3 * 16 * 16, 20)
    >>> features = [backbone(view.images.flatten(1)) for view in made[:2]]
    >>> outputs = {part: [heads[part](z[:, cut]) for z in features] for part, cut in objective.parts.items()}
    >>> extra = {name: backbone(images.flatten(1)) for name, images in add_on.extra_images(views).items()}
    >>> encoded = Encoded(features, outputs, heads, layers, extra)
    >>> terms = objective.terms(objective.batch(encoded, encoded, views))
    >>> sum(term.weight * term.value for term in terms.values()).backward()
    >>> sorted(terms)
    ['contrast', 'covariance', 'equivariance', 'predicted_variance', 'variance']

    Raises:
        UserError: the views have no random parameters, or one part would be empty.
    """

    def __init__(self, options: SieOptions, feature_dim: int, space: ParameterSpace | None = None) -> None:
        self.halves = Split(feature_dim, options.separation_ratio)
        super().__init__({"IR": Part(slice(0, self.halves.ir_dim))}, self.halves)
        self.options = options
        self.space = varied_space("sie", space)

    def make_layers(self, map_widths: Sequence[int] = ()) -> nn.ModuleDict:
        share = self.halves.ef_dim / self.halves.feature_dim
        shape = PredictorShape(
            feature_dim=self.halves.feature_dim,
            ir_dim=self.halves.ir_dim,
            hidden_dim=max(1, round(self.options.hidden_dim * share)),
            out_dim=max(1, round(self.options.out_dim * share)),
            relative_names=self.space.relative_names,
            adds_one=not self.space.relative_has_unit,
        )
        return nn.ModuleDict({"predictor": Predictor(shape, self.options.hypernetwork_start)})

    def terms(self, batch: Batch) -> dict[str, Term]:
        if len(batch.student.features[0]) * process_count() < 2:
            raise UserError("sie needs at least 2 images in a batch: raise batch_size or lower accumulate")
        options, student = self.options, batch.student
        predictor = _predictor(batch)
        # Each view takes a separate pass, as in VICReg, so that BatchNorm uses the statistics of one view.
        first, predicted = predictor(student.features[0], self.space.relative(batch.views[FIRST], batch.views[SECOND]))
        second = predictor.embed(student.features[1])
        first, second, predicted = (gather_rows(rows) for rows in (first, second, predicted))
        both = [first, second]
        if options.moments_of == "whole":
            both = [
                torch.cat([gather_rows(output.projection.float()), embedding], 1)
                # Local views have no embedding here.
                for output, embedding in zip(batch.parts["IR"].student, both, strict=False)
            ]
        variance = torch.stack([variance_hinge(embedding) for embedding in both]).mean()
        repeated = torch.stack([covariance(embedding) for embedding in both]).sum()
        return contrast(batch, "IR") | {
            "equivariance": Term(F.mse_loss(predicted, second), options.equivariance_weight),
            "variance": Term(variance, options.variance_weight),
            "predicted_variance": Term(variance_hinge(predicted), options.predicted_variance_weight),
            "covariance": Term(repeated, options.covariance_weight),
        }

    @torch.no_grad()
    def diagnose(self, batch: Batch) -> Mapping[str, Tensor]:
        """Measure how much better the prediction is than a reference: 1 - squared error / squared error of the
        reference.

        ``prediction_gain``: the reference is the first view's own embedding, W(q) = 1. ``transformation_gain``: the
        reference is the same prediction with another image's q; 0 means that q is of no use. For both, 1 is perfect,
        and values below 0 are worse than the reference. ``ef_embedding_deviation``: the mean standard deviation of the
        embedding's columns. BatchNorm uses its running statistics, as in the saved predictor.
        """
        predictor, student = _predictor(batch), batch.student
        relative = self.space.relative(batch.views[FIRST], batch.views[SECOND])
        training = predictor.training
        predictor.eval()
        first, predicted = predictor(student.features[0], relative)
        second = predictor.embed(student.features[1])
        misled = predictor.predict(first, relative.roll(1, 0))
        predictor.train(training)
        error = F.mse_loss(predicted, second)
        return {
            "prediction_gain": _gain(error, F.mse_loss(first, second)),
            "transformation_gain": _gain(error, F.mse_loss(misled, second)),
            "ef_embedding_deviation": first.std(dim=0).mean(),
        }


def _predictor(batch: Batch) -> Predictor:
    return cast(Predictor, batch.layers["predictor"])  # as make_layers built it


def _gain(error: Tensor, reference: Tensor) -> Tensor:
    return 1 - error / reference.clamp_min(torch.finfo(reference.dtype).tiny)
