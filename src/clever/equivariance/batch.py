"""What an add-on gets to see of a training step: views by name, encodings of student and teacher, heads and layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from torch import Tensor, nn

from clever.augmentation import View
from clever.baselines import AnyBaseline, Head, HeadOutput


class Term(NamedTuple):
    """One summand of the objective."""

    value: Tensor
    """Scalar, before weighting: what metrics.csv records."""
    weight: float


class Heads(nn.ModuleDict):
    """One head for each part of the representation, by the part's name; a network owns it."""

    def __getitem__(self, part: str) -> Head:
        return cast(Head, super().__getitem__(part))


@dataclass(frozen=True)
class Encoded:
    """What one network makes of the views of a batch, and its layers that terms may use."""

    features: list[Tensor]
    """One [N, feature_dim] representation a view."""
    outputs: dict[str, list[HeadOutput]]
    """For each part of the representation, one head output a view."""
    heads: Heads = field(default_factory=Heads)
    """The heads that gave the outputs."""
    layers: nn.ModuleDict = field(default_factory=nn.ModuleDict)
    """What ``Equivariance.make_layers`` gave; empty for a momentum teacher."""
    extra: dict[str, Tensor] = field(default_factory=dict)
    """[M, feature_dim] representations of the images of ``Equivariance.extra_images``, by their names."""
    maps: list[dict[int, Tensor]] = field(default_factory=list)
    """For each view its feature maps [N, C, H, W] by their numbers in ``Equivariance.feature_maps``."""
    extra_maps: dict[str, dict[int, Tensor]] = field(default_factory=dict)
    """The same maps of the extra images, by their names."""


@dataclass(frozen=True)
class ComparedPart:
    """One part of the representation: what student and teacher gave for it, and the baseline that compares them."""

    baseline: AnyBaseline
    head: Head
    """The student's."""
    student: list[HeadOutput]
    """One output a view of the recipe, the two global ones first."""
    teacher: list[HeadOutput]
    """One output a global view, of the momentum teacher or (without one) the student itself."""

    def attract(self) -> Tensor:
        """The baseline's own loss, a scalar."""
        return self.baseline.attract(self.student, self.teacher, self.head)

    def similarity(self) -> Tensor:
        """How similar the views of an image are, a scalar >= 0."""
        return self.baseline.similarity(self.student, self.teacher, self.head)


@dataclass(frozen=True)
class Batch:
    """One batch of a step, after the networks and before the losses."""

    views: Mapping[str, View]
    """Every view with the parameters that made it: ``global_1`` and ``global_2``, ``local_1`` and so on, and the extra
    ones by the names that ``EquivarianceOptions.extra_views`` gave them."""
    student: Encoded
    """All views of the recipe, the two global ones first, and the extra images."""
    teacher: Encoded
    """The global views, of the momentum teacher or (without one) the student itself."""
    parts: Mapping[str, ComparedPart]
    """Every part of the representation that has a head, by its name."""

    @property
    def layers(self) -> nn.ModuleDict:
        """The add-on's own layers."""
        return self.student.layers


def contrast(batch: Batch, part: str = "ALL") -> dict[str, Term]:
    """The baseline's own term on one part, which nearly every objective begins with."""
    return {"contrast": Term(batch.parts[part].attract(), 1.0)}
