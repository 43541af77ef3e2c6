"""EquiMod: in addition to invariance, a second embedding changes predictably with the augmentation's parameters.

Devillers and Lefort, ICLR 2023 (arXiv 2211.01244); details follow src/model.py and src/main.py in the branch
SimCLR+EquiMod of ADevillers/EquiMod. The variant that predicts one view from the other follows SIE's comparison on
photographs, which have no un-augmented image (facebookresearch/SIE:src/models.py, class SimCLREquiMod).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clever.augmentation import ParameterSpace, View
from clever.augmentation.options.views import FIRST, SECOND
from clever.augmentation.views import varied_space
from clever.baselines import HeadOutput
from clever.baselines.contrast import gather_projections
from clever.baselines.mlp import make_mlp
from clever.baselines.simclr import nt_xent
from clever.buffers import unchanged_buffers
from clever.equivariance.batch import Batch, Term, contrast
from clever.equivariance.equivariance import Equivariance, whole
from clever.equivariance.options.equimod import EquimodOptions
from clever.equivariance.options.equivariance import UNAUGMENTED


class Prediction(NamedTuple):
    """Embeddings [M, K] of M views; M is N or 2 N."""

    source: Tensor
    """Embeddings of the sources of the predictions."""
    target: Tensor
    """Embeddings of the views."""
    predicted: Tensor
    """Predicted embeddings of the views, from sources and parameters."""


class Equimod(Equivariance):
    """The baseline on the whole representation, plus ``equimod``, NT-Xent between views and their predictions.

    All embeddings and predictions in the batch except a view's own counterpart are negatives, and all receive
    gradients. Only the two global views are predicted. The authors encode the un-augmented images in one pass with the
    views; here they go through the backbone in a separate pass, so that BatchNorm normalises them with their own
    statistics. The projector processes all of them together, as the authors' does. On ImageNet, the authors'
    un-augmented image is the central 224 of 256 pixels; ours is the whole central square.

    >>> import torch
    >>> from clever.augmentation import Augmentation, AugmentationOptions
    >>> from clever.baselines.options.simclr import SimclrOptions
    >>> from clever.baselines.simclr import Simclr
    >>> from clever.equivariance import Encoded, Objective
    >>> from clever.equivariance.equimod import Equimod
    >>> from clever.equivariance.options.equimod import EquimodOptions
    >>> _ = torch.manual_seed(0)
    >>> options = EquimodOptions(hidden_dim=32, out_dim=8)
    >>> recipe = AugmentationOptions(name="caug", global_size=16, local_views=0)
    >>> make_views = Augmentation(recipe, mean=[0.5] * 3, std=[0.5] * 3, extra=options.extra_views())
    >>> pixels = torch.randint(0, 256, (32, 3, 16, 16), dtype=torch.uint8)
    >>> made = make_views(pixels, torch.full((32, 2), 16), torch.Generator().manual_seed(0))
    >>> views = dict(zip(make_views.names, made))
    >>> add_on = Equimod(options, feature_dim=20, space=make_views.space)
    >>> objective = Objective(add_on, lambda changes: Simclr(SimclrOptions(hidden_dim=32, out_dim=8)))
    >>> heads, layers, backbone = objective.make_heads(), add_on.make_layers(), torch.nn.Linear(3 * 16 * 16, 20)
    >>> features = [backbone(view.images.flatten(1)) for view in made[:2]]
    >>> outputs = {part: [heads[part](z[:, cut]) for z in features] for part, cut in objective.parts.items()}
    >>> extra = {name: backbone(images.flatten(1)) for name, images in add_on.extra_images(views).items()}
    >>> encoded = Encoded(features, outputs, heads, layers, extra)
    >>> terms = objective.terms(objective.batch(encoded, encoded, views))
    >>> sum(term.weight * term.value for term in terms.values()).backward()
    >>> sorted(terms)
    ['contrast', 'equimod']

    Raises:
        UserError: the views have no random parameters.
    """

    def __init__(self, options: EquimodOptions, feature_dim: int, space: ParameterSpace | None = None) -> None:
        super().__init__(whole(feature_dim))
        self.options, self.feature_dim = options, feature_dim
        self.space = varied_space("equimod", space)

    def make_layers(self, map_widths: Sequence[int] = ()) -> nn.ModuleDict:
        """The ``projector`` of the second embedding, the ``transformation`` of parameters, and the ``predictor``."""
        o = self.options
        entries = self.space.names if o.source == "unaugmented" else self.space.relative_names
        return nn.ModuleDict(
            {
                "projector": make_mlp([self.feature_dim, o.hidden_dim, o.hidden_dim, o.out_dim], final_norm="plain"),
                "transformation": make_mlp([len(entries), o.parameter_dim], final_norm="affine"),
                "predictor": make_mlp([o.out_dim + o.parameter_dim, o.out_dim], final_norm="plain"),
            }
        )

    def extra_images(self, views: Mapping[str, View]) -> dict[str, Tensor]:
        """``unaugmented`` [N, 3, S, S], if it is the source of the prediction."""
        return {UNAUGMENTED: views[UNAUGMENTED].images} if self.options.source == "unaugmented" else {}

    def terms(self, batch: Batch) -> dict[str, Term]:
        _, target, predicted = self._predict(batch)
        pair = gather_projections([HeadOutput(target), HeadOutput(predicted)])
        value = nt_xent(pair[0], pair[1], temperature=self.options.temperature)
        return contrast(batch) | {"equimod": Term(value, self.options.equimod_weight)}

    @torch.no_grad()
    def diagnose(self, batch: Batch) -> Mapping[str, Tensor]:
        """Measure how much closer the prediction y^ is to a view's embedding y than the source y0 is (src/main.py).

        ``equimod_gain`` is the mean of cos(y, y^) - cos(y, y0): if it is above 0, the prediction follows the view; if
        it is 0, the embedding may be invariant. ``equimod_ratio`` is the mean of (1 - cos(y, y0)) / (1 - cos(y, y^)),
        which is 1 for an invariant embedding.
        """
        with unchanged_buffers(batch.layers):  # diagnosing must not change the run
            source, target, predicted = self._predict(batch)
        stay = F.cosine_similarity(target, source, dim=1)
        move = F.cosine_similarity(target, predicted, dim=1)
        missing = (1.0 - move).clamp_min(torch.finfo(move.dtype).eps)
        return {"equimod_gain": (move - stay).mean(), "equimod_ratio": ((1.0 - stay) / missing).mean()}

    def _predict(self, batch: Batch) -> Prediction:
        globals_, layers = batch.student.features[:2], batch.layers
        views = batch.views[FIRST], batch.views[SECOND]
        if self.options.source == "unaugmented":
            still, first, second = self._project([batch.student.extra[UNAUGMENTED], *globals_], layers)
            source, target = torch.cat([still, still]), torch.cat([first, second])
            parameters = torch.cat([self.space.vector(view) for view in views])
        else:
            first, second = self._project(globals_, layers)
            source, target = first, second
            parameters = self.space.relative(*views)
            if self.options.both_directions:
                source, target = torch.cat([first, second]), torch.cat([second, first])
                parameters = torch.cat([parameters, self.space.relative(views[1], views[0])])
        joined = torch.cat([source, layers["transformation"](parameters)], 1)
        return Prediction(source, target, layers["predictor"](joined))

    @staticmethod
    def _project(features: Sequence[Tensor], layers: nn.ModuleDict) -> Sequence[Tensor]:
        return layers["projector"](torch.cat(list(features)).float()).chunk(len(features))  # type: ignore[no-any-return]
