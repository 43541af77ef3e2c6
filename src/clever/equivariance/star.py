"""STAR: soft task-aware routing (NeurIPS 2025, arXiv 2510.27222): the invariant and the equivariant task share experts.

It replaces EquiMod's two projectors by a set of experts; each task uses a different weighted mean of their outputs.
Details follow notes on an earlier version of the authors' code (YonseiML/star, 3c66752).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clever.augmentation import ParameterSpace, View
from clever.augmentation.options.views import FIRST, SECOND
from clever.augmentation.views import varied_space
from clever.baselines import Head, HeadOutput
from clever.baselines.contrast import gather_projections
from clever.baselines.mlp import last_layer_parameters, make_mlp
from clever.baselines.simclr import nt_xent
from clever.buffers import unchanged_buffers
from clever.equivariance.batch import Batch, Term, contrast
from clever.equivariance.equivariance import Equivariance, Part
from clever.equivariance.options.equivariance import UNAUGMENTED
from clever.equivariance.options.star import StarOptions


class ExpertHead(Head):
    """E projectors, each with three linear layers as wide as the input, and a router for each task.

    A task's embedding is the mean of all experts' outputs, weighted by the softmax of a linear layer on the features.
    The projection is the invariant task's embedding.
    """

    def __init__(self, width: int, out_dim: int, experts: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(make_mlp([width, width, width, out_dim]) for _ in range(experts))
        self.invariant_router = nn.Linear(width, experts)
        self.equivariant_router = nn.Linear(width, experts)

    def forward(self, features: Tensor) -> HeadOutput:
        """Features [M, width] to a projection [M, K]."""
        return HeadOutput(self._routed(features, self.invariant_router))

    def equivariant(self, features: Tensor) -> Tensor:
        """The equivariant task's embedding, [M, K]."""
        return self._routed(features, self.equivariant_router)

    def _routed(self, features: Tensor, router: nn.Module) -> Tensor:
        outputs = torch.stack([expert(features) for expert in self.experts], dim=1)
        shares: Tensor = router(features).softmax(dim=1)
        return (shares.unsqueeze(2) * outputs).sum(dim=1)

    def last_layer_parameters(self) -> list[nn.Parameter]:
        """The parameters of the experts' last layers."""
        return [p for expert in self.experts for p in last_layer_parameters(cast(nn.Sequential, expert))]


class Prediction(NamedTuple):
    """Embeddings [2 N, K] of the un-augmented images (repeated) and of both global views, and the predicted
    embeddings."""

    source: Tensor
    target: Tensor
    predicted: Tensor


class Star(Equivariance):
    """The baseline on the invariant task's embedding, plus ``star``, NT-Xent between views and their predictions.

    The predicted embedding of a view is the embedding of the un-augmented image plus a change that is computed from
    this embedding and the view's parameters. All embeddings receive gradients. The augmentation's parameters are
    standardised over their own distribution instead of with the authors' constants. One pass through the experts
    computes the equivariant embeddings of the three images, which is our choice.

    >>> import torch
    >>> from clever.augmentation import Augmentation, AugmentationOptions
    >>> from clever.baselines.options.simclr import SimclrOptions
    >>> from clever.baselines.simclr import Simclr
    >>> from clever.equivariance import Encoded, Objective
    >>> from clever.equivariance.options.star import StarOptions
    >>> from clever.equivariance.star import Star
    >>> _ = torch.manual_seed(0)
    >>> options = StarOptions()
    >>> recipe = AugmentationOptions(name="caug", global_size=16, local_views=0)
    >>> make_views = Augmentation(recipe, mean=[0.5] * 3, std=[0.5] * 3, extra=options.extra_views())
    >>> pixels = torch.randint(0, 256, (32, 3, 16, 16), dtype=torch.uint8)
    >>> made = make_views(pixels, torch.full((32, 2), 16), torch.Generator().manual_seed(0))
    >>> views = dict(zip(make_views.names, made))
    >>> add_on = Star(options, feature_dim=20, space=make_views.space)
    >>> add_on.output_dim = 8  # of the baseline's projection, as the network sets it
    >>> objective = Objective(add_on, lambda changes: Simclr(SimclrOptions(hidden_dim=32, out_dim=8)))
    >>> heads, layers, backbone = objective.make_heads(), add_on.make_layers(), torch.nn.Linear(3 * 16 * 16, 20)
    >>> features = [backbone(view.images.flatten(1)) for view in made[:2]]
    >>> outputs = {part: [heads[part](z[:, cut]) for z in features] for part, cut in objective.parts.items()}
    >>> extra = {name: backbone(images.flatten(1)) for name, images in add_on.extra_images(views).items()}
    >>> encoded = Encoded(features, outputs, heads, layers, extra)
    >>> terms = objective.terms(objective.batch(encoded, encoded, views))
    >>> sum(term.weight * term.value for term in terms.values()).backward()
    >>> sorted(terms)
    ['contrast', 'star']

    Raises:
        UserError: the views have no random parameters.
    """

    def __init__(self, options: StarOptions, feature_dim: int, space: ParameterSpace | None = None) -> None:
        super().__init__({"ALL": Part(slice(0, feature_dim), make_head=self._make_head)})
        self.options, self.feature_dim = options, feature_dim
        self.space = varied_space("star", space)

    def _make_head(self, width: int) -> ExpertHead:
        assert self.output_dim is not None
        return ExpertHead(width, self.output_dim, self.options.experts)

    def make_layers(self, map_widths: Sequence[int] = ()) -> nn.ModuleDict:
        """``transformation``: a linear layer from parameters [N, P] to [N, K]; ``predictor``: [N, 2 K] to [N, K]."""
        assert self.output_dim is not None
        out, hidden = self.output_dim, self.options.predictor_dim
        return nn.ModuleDict(
            {
                "transformation": nn.Linear(len(self.space.names), out),
                "predictor": make_mlp([2 * out, hidden, hidden, out]),
            }
        )

    def extra_images(self, views: Mapping[str, View]) -> dict[str, Tensor]:
        """``unaugmented`` [N, 3, S, S]."""
        return {UNAUGMENTED: views[UNAUGMENTED].images}

    def terms(self, batch: Batch) -> dict[str, Term]:
        _, target, predicted = self._predict(batch)
        pair = gather_projections([HeadOutput(target), HeadOutput(predicted)])
        value = nt_xent(pair[0], pair[1], temperature=self.options.temperature)
        return contrast(batch) | {"star": Term(value, self.options.star_weight)}

    @torch.no_grad()
    def diagnose(self, batch: Batch) -> Mapping[str, Tensor]:
        """``star_gain``, like EquiMod's: the mean of cos(y, y^) - cos(y, y0), above 0 if the prediction follows the
        view. ``router_overlap``: how similarly the two tasks weight the experts, as the mean over images of the summed
        minimum of both weights; 1 if the weights are equal."""
        head = cast(ExpertHead, batch.parts["ALL"].head)
        with unchanged_buffers(batch.layers), unchanged_buffers(head):  # diagnosing must not change the run
            source, target, predicted = self._predict(batch)
        features = batch.student.features[0].float()
        shares = [router(features).softmax(dim=1) for router in (head.invariant_router, head.equivariant_router)]
        gain = F.cosine_similarity(target, predicted, dim=1) - F.cosine_similarity(target, source, dim=1)
        return {"star_gain": gain.mean(), "router_overlap": torch.minimum(*shares).sum(dim=1).mean()}

    def _predict(self, batch: Batch) -> Prediction:
        head, layers = cast(ExpertHead, batch.parts["ALL"].head), batch.layers
        images = [batch.student.extra[UNAUGMENTED], *batch.student.features[:2]]
        still, first, second = head.equivariant(torch.cat(images).float()).float().chunk(3)
        source = torch.cat([still, still])
        parameters = torch.cat([self.space.vector(batch.views[name]) for name in (FIRST, SECOND)])
        change: Tensor = layers["predictor"](torch.cat([source, layers["transformation"](parameters)], dim=1))
        return Prediction(source, torch.cat([first, second]), source + change.float())
