"""AugSelf: in addition to invariance, the transformation between two views is predicted from their features.

Lee et al., NeurIPS 2021, in the form that Garrido, Najman and LeCun compare with SIE
(facebookresearch/SIE:src/models.py, class SimCLRAugSelf): an MLP with two hidden layers, each as wide as its input,
trained with the mean squared error. Theirs predicts the relative rotation between two photographs; for other views,
ours predicts the relative transformation that their parameter space defines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clever.augmentation import ParameterSpace
from clever.augmentation.options.views import FIRST, SECOND
from clever.augmentation.views import varied_space
from clever.baselines.mlp import make_mlp
from clever.collectives import gather_rows
from clever.equivariance.batch import Batch, Term, contrast
from clever.equivariance.equivariance import Equivariance, whole
from clever.equivariance.options.augself import AugselfOptions


class Augself(Equivariance):
    """The baseline on the whole representation, plus ``augself``, the error of the predicted transformation.

    >>> import torch
    >>> from clever.augmentation import Augmentation, AugmentationOptions
    >>> from clever.baselines.options.simclr import SimclrOptions
    >>> from clever.baselines.simclr import Simclr
    >>> from clever.equivariance import Encoded, Objective
    >>> from clever.equivariance.augself import Augself
    >>> from clever.equivariance.options.augself import AugselfOptions
    >>> _ = torch.manual_seed(0)
    >>> options = AugselfOptions()
    >>> recipe = AugmentationOptions(name="caug", global_size=16, local_views=0)
    >>> make_views = Augmentation(recipe, mean=[0.5] * 3, std=[0.5] * 3, extra=options.extra_views())
    >>> pixels = torch.randint(0, 256, (32, 3, 16, 16), dtype=torch.uint8)
    >>> made = make_views(pixels, torch.full((32, 2), 16), torch.Generator().manual_seed(0))
    >>> views = dict(zip(make_views.names, made))
    >>> add_on = Augself(options, feature_dim=20, space=make_views.space)
    >>> objective = Objective(add_on, lambda changes: Simclr(SimclrOptions(hidden_dim=32, out_dim=8)))
    >>> heads, layers, backbone = objective.make_heads(), add_on.make_layers(), torch.nn.Linear(3 * 16 * 16, 20)
    >>> features = [backbone(view.images.flatten(1)) for view in made[:2]]
    >>> outputs = {part: [heads[part](z[:, cut]) for z in features] for part, cut in objective.parts.items()}
    >>> extra = {name: backbone(images.flatten(1)) for name, images in add_on.extra_images(views).items()}
    >>> encoded = Encoded(features, outputs, heads, layers, extra)
    >>> terms = objective.terms(objective.batch(encoded, encoded, views))
    >>> sum(term.weight * term.value for term in terms.values()).backward()
    >>> sorted(terms)
    ['augself', 'contrast']

    Raises:
        UserError: the views have no random parameters.
    """

    def __init__(self, options: AugselfOptions, feature_dim: int, space: ParameterSpace | None = None) -> None:
        super().__init__(whole(feature_dim))
        self.options, self.feature_dim = options, feature_dim
        self.space = varied_space("augself", space)

    def make_layers(self, map_widths: Sequence[int] = ()) -> nn.ModuleDict:
        """``predictor``: an MLP from the features of two views [N, 2 D] to the transformation [N, R]."""
        inputs = 2 * self.feature_dim
        hidden = self.options.hidden_dim or inputs
        widths = [inputs, hidden, hidden, len(self.space.relative_names)]
        return nn.ModuleDict({"predictor": make_mlp(widths, hidden_norm=False)})

    def terms(self, batch: Batch) -> dict[str, Term]:
        predicted, true = self._predict(batch)
        return contrast(batch) | {"augself": Term(F.mse_loss(predicted, true), self.options.augself_weight)}

    @torch.no_grad()
    def diagnose(self, batch: Batch) -> Mapping[str, Tensor]:
        """``augself_r2``: the explained share of the transformations' variance (R²), over all processes.

        1 is perfect; 0 is as good as predicting each entry's mean.
        """
        predicted, true = (gather_rows(rows) for rows in self._predict(batch))
        unexplained = (predicted - true).square().sum()
        return {"augself_r2": 1.0 - unexplained / (true - true.mean(0)).square().sum()}

    def _predict(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Predicted and true transformations, float32 [N, R], or [2 N, R] in both directions."""
        orders = [(0, 1), (1, 0)] if self.options.both_directions else [(0, 1)]
        views, features = (batch.views[FIRST], batch.views[SECOND]), batch.student.features
        pairs = [torch.cat([features[one], features[other]], 1) for one, other in orders]
        true = [self.space.relative(views[one], views[other]) for one, other in orders]
        predicted: Tensor = batch.layers["predictor"](torch.cat(pairs).float())
        return predicted.float(), torch.cat(true)
