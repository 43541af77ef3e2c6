"""The data of a training step as an add-on sees it: views by name, encodings of student and teacher, heads and
layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from torch import Tensor, nn

from clever.augmentation import View
from clever.baselines import AnyBaseline, Head, HeadOutput, Samples


class Term(NamedTuple):
    """One term of the objective."""

    value: Tensor
    """The unweighted scalar, as recorded in metrics.csv."""
    weight: float


class Heads(nn.ModuleDict):
    """One head for each part of the representation, by the part's name; a network owns the heads."""

    def __getitem__(self, part: str) -> Head:
        return cast(Head, super().__getitem__(part))


@dataclass(frozen=True)
class Encoded:
    """The outputs of one network for the views of a batch, and the layers that terms may use."""

    features: list[Tensor]
    """One representation [N, feature_dim] per view."""
    outputs: dict[str, list[HeadOutput]]
    """For each part of the representation, one head output per view."""
    heads: Heads = field(default_factory=Heads)
    """The heads that computed the outputs."""
    layers: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    """The layers from ``Equivariance.make_layers``; empty for a momentum teacher."""
    extra: dict[str, Tensor] = field(default_factory=dict)
    """Representations [M, feature_dim] of the images of ``Equivariance.extra_images``, by name."""
    maps: list[dict[int, Tensor]] = field(default_factory=list)
    """For each view, its feature maps [N, C, H, W] by index, as in ``Equivariance.feature_maps``."""
    extra_maps: dict[str, dict[int, Tensor]] = field(default_factory=dict)
    """The same maps for the extra images, by name."""


@dataclass(frozen=True)
class ComparedPart:
    """One part of the representation: its outputs from student and teacher, and the baseline that compares them."""

    baseline: AnyBaseline
    head: Head
    """The student's head."""
    student: list[HeadOutput]
    """One output per view of the augmentation, the two global views first."""
    teacher: list[HeadOutput]
    """One output per global view, from the momentum teacher or, without one, from the student itself."""
    samples: Samples | None = None
    """The images behind the views; None unless the baseline reads samples."""

    def attract(self) -> Tensor:
        """The baseline's own loss, a scalar."""
        return self.baseline.attract_samples(self.student, self.teacher, self.head, self.samples)

    def similarity(self) -> Tensor:
        """The similarity of an image's views, a scalar >= 0."""
        return self.baseline.similarity(self.student, self.teacher, self.head)


@dataclass(frozen=True)
class Batch:
    """One batch of a training step, after the forward passes and before the losses."""

    views: Mapping[str, View]
    """Every view with its augmentation parameters: ``global_1``, ``global_2``, ``local_1`` and so on; extra views have
    the names set in ``EquivarianceOptions.extra_views``."""
    student: Encoded
    """Encodings of all views of the augmentation, the two global views first, and of the extra images."""
    teacher: Encoded
    """Encodings of the global views, from the momentum teacher or, without one, from the student itself."""
    parts: Mapping[str, ComparedPart]
    """Every part of the representation with a head, by name."""

    @property
    def layers(self) -> nn.ModuleDict:
        """The add-on's own layers."""
        return self.student.layers


def contrast(batch: Batch, part: str = "ALL") -> dict[str, Term]:
    """The baseline's own loss on one part; nearly every objective includes it."""
    return {"contrast": Term(batch.parts[part].attract(), 1.0)}
