"""E-SSL: in addition to invariance, the features predict which transformation of a group was applied to a small crop.

Equivariant contrastive learning (Dangovski et al., ICLR 2022, arXiv 2111.00899); details taken from the authors' code
are from rdangovs/essl:cifar10/main.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt, field_validator, model_validator
from torch import Tensor, nn

from clever.augmentation import AugmentationOptions, ExtraView, ParameterSpace, View, ViewOptions
from clever.backbones import BackboneOptions
from clever.equivariance.batch import Batch, Term, contrast
from clever.equivariance.equivariance import Equivariance, EquivarianceOptions, whole
from clever.equivariance.transformations import CLASSES, GROUPS, GroupName

CROP = "small_crop"
TRANSFORMED = "transformed"

Fraction = Annotated[float, Field(gt=0.0, le=1.0)]


class EsslOptions(EquivarianceOptions):
    """E-SSL's settings; the defaults are the authors' for SimCLR on CIFAR-10.

    Their projector ends with a BatchNorm without scale and shift: ``affine_output: false`` of the baseline ``simclr``.
    """

    name: Literal["essl"] = "essl"
    essl_weight: float = Field(default=0.4, ge=0)
    """Weight of the prediction (the authors' lambda): 0.4 with SimCLR on CIFAR-10 and ImageNet; on ImageNet 0.08 with
    SimSiam and 8 with Barlow Twins."""
    transformations: GroupName = "rotation"
    """The group of transformations to distinguish: four-fold rotation (4 classes), a left-right flip, an upside-down
    flip, half-period translations in both directions (4), grayscale, or colour inversion. Choose one that the
    augmentation does not apply itself: caug and caug_plus already rotate."""
    crop_size: PositiveInt = 16
    """Side in pixels of the small crop: half of the global views on CIFAR-10 (16 of 32), 96 of 224 on ImageNet. Scale
    it with the size of the images. Its four rotations then cost about one global view."""
    crop_scale: tuple[Fraction, Fraction] = (0.2, 1.0)
    """Share of the image's area that the small crop covers; all other parameters are drawn as for local views. The
    authors also use [0.05, 0.14] and [0.08, 1.0] on ImageNet."""
    hidden_dims: tuple[PositiveInt, ...] = Field(default=(2048, 2048), min_length=1)
    """Widths of the head's hidden layers. On ImageNet [2048, 2048, 128] with SimCLR and [2048, 2048, 256] with SimSiam
    and Barlow Twins. Lower them for small backbones."""
    relu_before_output: bool = True
    """Whether a ReLU precedes the head's last layer. The authors use one with SimCLR on CIFAR-10, and none with SimSiam
    and on ImageNet."""

    @field_validator("crop_scale")
    @classmethod
    def _scale_ascends(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if scale[0] > scale[1]:
            raise ValueError(f"crop_scale must be [smaller, larger], not [{scale[0]}, {scale[1]}]")
        return scale

    @model_validator(mode="after")
    def _half_a_crop_is_whole_pixels(self) -> EsslOptions:
        if self.transformations == "translation" and self.crop_size % 2:
            raise ValueError(f"translation moves images by half a crop: crop_size must be even, not {self.crop_size}")
        return self

    def extra_views(self) -> tuple[ExtraView, ...]:
        return (ExtraView(CROP, size=self.crop_size, scale=self.crop_scale),)

    def refusal(self, views: ViewOptions, backbone: BackboneOptions) -> str | None:
        if not isinstance(views, AugmentationOptions):
            return None  # it makes no extra views, which another check reports
        drawn = {"horizontal_flip": "flip_probability", "grayscale": "grayscale_probability"}.get(self.transformations)
        if drawn and getattr(views, drawn) > 0:
            return (
                f"essl cannot distinguish its {self.transformations} from that of the augmentation; set the "
                f"augmentation's {drawn} to 0"
            )
        return None


class Essl(Equivariance):
    """The baseline on the whole representation, and ``essl``, the cross-entropy of predicting the transformation.

    Every member of the group is applied to every image's small crop, and the backbone encodes all k N images in one
    pass. The head takes the representation, before any projection.

    >>> import torch
    >>> from clever.augmentation import Augmentation, AugmentationOptions
    >>> from clever.baselines.simclr import Simclr, SimclrOptions
    >>> from clever.equivariance import Encoded, Objective
    >>> from clever.equivariance.essl import Essl, EsslOptions
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
        """``essl_accuracy`` in [0, 1]: the share of transformations predicted correctly; 1 / k is chance."""
        logits, classes = self._predict(batch)
        return {"essl_accuracy": (logits.argmax(1) == classes).float().mean()}

    def _predict(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits float32 [k N, k] and true classes int64 [k N]."""
        features = batch.student.extra[TRANSFORMED]
        logits: Tensor = batch.layers["head"](features.float())
        count = logits.shape[1]
        classes = torch.arange(count, device=logits.device).repeat_interleave(len(features) // count)
        return logits.float(), classes
