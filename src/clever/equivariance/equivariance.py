"""The interface of an equivariance add-on: what is learned besides, or instead of, plain invariance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from clever.augmentation import ExtraView, View, ViewOptions
from clever.backbones import BackboneOptions
from clever.backbones.representation import Split
from clever.equivariance.batch import Batch, Term
from clever.options import Options


class EquivarianceOptions(Options):
    """Options of an equivariance add-on; ``name`` chooses it."""

    name: str

    @property
    def redraws(self) -> int:
        """How many further values of the first view's differentiable parameters the terms need besides the gradient to
        them; 0 where they need neither."""
        return 0

    @property
    def shared_draws(self) -> int:
        """How many consecutive images of a batch share what is drawn for the recipe's views; 1: none do.

        An extra view says the same of itself (``ExtraView.shared_draws``).
        """
        return 1

    def extra_views(self) -> tuple[ExtraView, ...]:
        """The views that the terms need beyond those of the recipe."""
        return ()

    def refusal(self, views: ViewOptions, backbone: BackboneOptions) -> str | None:
        """Why the add-on cannot work with these views or this backbone, and what would; None where it can.

        Called before anything runs. What every add-on's demands on the views imply is checked afterwards, in words
        that fit all of them.
        """
        return None


@dataclass(frozen=True)
class Part:
    """A part of the representation that has a head."""

    columns: slice
    baseline_options: Mapping[str, object] = field(default_factory=dict)
    """Options of the baseline that differ on this part."""


def whole(feature_dim: int) -> dict[str, Part]:
    """One part, ALL: the whole representation."""
    return {"ALL": Part(slice(0, feature_dim))}


class Equivariance(ABC):
    """Says which parts of the representation get a head, which layers are its own, and what is optimised.

    A subclass is built from ``(options, feature_dim, space)``: its options, the width of the representation, and the
    space of the views' parameters (None where none is known). It has no state and no parameters: the baselines belong
    to the :class:`~clever.equivariance.objective.Objective`, heads and layers to the network.

    Args:
        parts: every part that has a head, by its name. The first one's baseline answers for the whole run, for example
            about the teacher's momentum.
        split: how the representation divides into IR and EF; None where it does not.
    """

    feature_maps: tuple[int, ...] = ()
    """Numbers of the backbone's feature maps that the terms use (``Backbone.forward_with_maps``): the student's and the
    teacher's encodings then hold them for every view and every extra image."""
    teacher_sees_extra: bool = False
    """Whether the teacher encodes the extra images too."""

    def __init__(self, parts: Mapping[str, Part], split: Split | None = None) -> None:
        self.parts = dict(parts)
        self.split = split

    def make_layers(self, map_widths: Sequence[int] = ()) -> nn.ModuleDict:
        """Further trainable layers, for the student alone to own (a predictor, a rotation head).

        Args:
            map_widths: channels of each of the backbone's feature maps (``Backbone.feature_map_widths``).
        """
        return nn.ModuleDict()

    def extra_images(self, views: Mapping[str, View]) -> dict[str, Tensor]:
        """Images [M, 3, S, S] to encode besides the views, by name; each name is one more pass of the backbone.

        Args:
            views: as ``Batch.views``.
        """
        return {}

    @abstractmethod
    def terms(self, batch: Batch) -> dict[str, Term]:
        """The named terms of the objective for one batch."""

    def diagnose(self, batch: Batch) -> Mapping[str, Tensor]:
        """Named scalars that tell whether the equivariance is learned; computed now and then, without gradients."""
        return {}
