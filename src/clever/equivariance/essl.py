"""E-SSL: in addition to invariance, the features predict which transformation of a group was applied to a small crop.

Equivariant contrastive learning (Dangovski et al., ICLR 2022, arXiv 2111.00899); details of the authors' code are taken
from rdangovs/essl:cifar10/main.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clever.augmentation import ParameterSpace, View
from clever.equivariance.batch import Batch, Term, contrast
from clever.equivariance.equivariance import Equivariance, whole
from clever.equivariance.options.essl import CROP, EsslOptions
from clever.equivariance.transformations import CLASSES, GROUPS

TRANSFORMED = "transformed"


class Essl(Equivariance):
    """The baseline on the whole representation, plus ``essl``, the cross-entropy of predicting the transformation.

    Every member of the group is applied to every image's small crop, and the backbone encodes all k N images in one
    pass. The head takes the representation, before any projection.

    >>> import torch
    >>> from clever.augmentation import Augmentation, AugmentationOptions
    >>> from clever.baselines.options.simclr import SimclrOptions
    >>> from clever.baselines.simclr import Simclr
    >>> from clever.equivariance import Encoded, Objective
    >>> from clever.equivariance.essl import Essl
    >>> from clever.equivariance.options.essl import EsslOptions
    >>> _ = torch.manual_seed(0)
    >>> options = EsslOptions(crop_size=16)
    >>> recipe = AugmentationOptions(name="caug", global_size=16, local_views=0)
    >>> make_views = Augmentation(recipe, mean=[0.5] * 3, std=[0.5] * 3, extra=options.extra_views())
    >>> pixels = torch.randint(0, 256, (32, 3, 16, 16), dtype=torch.uint8)
    >>> made = make_views(pixels, torch.full((32, 2), 16), torch.Generator().manual_seed(0))
    >>> views = dict(zip(make_views.names, made))
    >>> add_on = Essl(options, feature_dim=20, space=make_views.space)
    >>> objective = Objective(add_on, lambda changes: Simclr(SimclrOptions(hidden_dim=32, out_dim=8)))
    >>> heads, layers, backbone = objective.make_heads(), add_on.make_layers(), torch.nn.Linear(3 * 16 * 16, 20)
    >>> features = [backbone(view.images.flatten(1)) for view in made[:2]]
    >>> outputs = {part: [heads[part](z[:, cut]) for z in features] for part, cut in objective.parts.items()}
    >>> extra = {name: backbone(images.flatten(1)) for name, images in add_on.extra_images(views).items()}
    >>> encoded = Encoded(features, outputs, heads, layers, extra)
    >>> terms = objective.terms(objective.batch(encoded, encoded, views))
    >>> sum(term.weight * term.value for term in terms.values()).backward()
    >>> sorted(terms)
    ['contrast', 'essl']
    """

    def __init__(self, options: EsslOptions, feature_dim: int, space: ParameterSpace | None = None) -> None:
        super().__init__(whole(feature_dim))
        self.options, self.feature_dim = options, feature_dim

    def make_layers(self, map_widths: Sequence[int] = ()) -> nn.ModuleDict:
        """``head``: linear layers [k N, D] to [k N, k], with a LayerNorm after each hidden layer."""
        widths = [self.feature_dim, *self.options.hidden_dims]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.ReLU(inplace=True)]
        if not self.options.relu_before_output:
            layers.pop()
        layers.append(nn.Linear(widths[-1], CLASSES[self.options.transformations]))
        return nn.ModuleDict({"head": nn.Sequential(*layers)})

    def extra_images(self, views: Mapping[str, View]) -> dict[str, Tensor]:
        """``transformed`` [k N, 3, S, S]: all crops under the first member of the group, under the second, ..."""
        crop = views[CROP]
        assert crop.normalisation is not None
        return {TRANSFORMED: torch.cat(GROUPS[self.options.transformations](crop.images, crop.normalisation))}

    def terms(self, batch: Batch) -> dict[str, Term]:
        logits, classes = self._predict(batch)
        return contrast(batch) | {"essl": Term(F.cross_entropy(logits, classes), self.options.essl_weight)}

    @torch.no_grad()
    def diagnose(self, batch: Batch) -> Mapping[str, Tensor]:
        """``essl_accuracy`` in [0, 1]: the share of correctly predicted transformations; chance level is 1 / k."""
        logits, classes = self._predict(batch)
        return {"essl_accuracy": (logits.argmax(1) == classes).float().mean()}

    def _predict(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits float32 [k N, k] and true classes int64 [k N]."""
        features = batch.student.extra[TRANSFORMED]
        logits: Tensor = batch.layers["head"](features.float())
        count = logits.shape[1]
        classes = torch.arange(count, device=logits.device).repeat_interleave(len(features) // count)
        return logits.float(), classes
