"""The interface of an equivariance add-on: what is learned in addition to, or instead of, plain invariance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from clever.augmentation import View
from clever.backbones.representation import Split
from clever.baselines import Head
from clever.equivariance.batch import Batch, Term


@dataclass(frozen=True)
class Part:
    """A part of the representation with a head."""

    columns: slice
    baseline_options: Mapping[str, object] = field(default_factory=dict)
    """The baseline's options that differ on this part."""
    make_head: Callable[[int], Head] | None = None
    """Makes a head for this part's width that replaces the baseline's; None keeps the baseline's head."""


def whole(feature_dim: int) -> dict[str, Part]:
    """The single part ALL, which is the whole representation."""
    return {"ALL": Part(slice(0, feature_dim))}


class Equivariance(ABC):
    """Defines the parts of the representation with a head, additional trainable layers, and the terms of the objective.

    A subclass is built from ``(options, feature_dim, space)``: its options, the width of the representation, and the
    space of the views' parameters (None if unknown). It has no state and no parameters: the baselines belong to the
    :class:`~clever.equivariance.objective.Objective`, heads and layers to the network.

    Args:
        parts: every part that has a head, by its name. The first part's baseline decides facts of the whole run, such
            as the teacher's momentum.
        split: how the representation divides into IR and EF; None without a split.
    """

    feature_maps: tuple[int, ...] = ()
    """Indices of the backbone's feature maps that the terms use (``Backbone.forward_with_maps``). The student's and the
    teacher's encodings then hold these maps for every view and every extra image."""
    output_dim: int | None = None
    """Width of the baseline's outputs, for layers that read them; set when the objective is built."""
    teacher_sees_extra: bool = False
    """Whether the teacher encodes the extra images too."""

    def __init__(self, parts: Mapping[str, Part], split: Split | None = None) -> None:
        self.parts = dict(parts)
        self.split = split

    def make_layers(self, map_widths: Sequence[int] = ()) -> nn.ModuleDict:
        """Further trainable layers, owned by the student alone (a predictor, a rotation head).

        Args:
            map_widths: channels of each of the backbone's feature maps (``Backbone.feature_map_widths``).
        """
        return nn.ModuleDict()

    def extra_images(self, views: Mapping[str, View]) -> dict[str, Tensor]:
        """Images [M, 3, S, S] to encode in addition to the views, by name; each name costs one more pass through the
        backbone.

        Args:
            views: as ``Batch.views``.
        """
        return {}

    @abstractmethod
    def terms(self, batch: Batch) -> dict[str, Term]:
        """The named terms of the objective for one batch."""

    def diagnose(self, batch: Batch) -> Mapping[str, Tensor]:
        """Named scalars that show whether the equivariance is learned; computed occasionally, without gradients."""
        return {}
