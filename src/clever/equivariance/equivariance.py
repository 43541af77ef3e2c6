"""The interface of an equivariance add-on: what is learned beside, or instead of, plain invariance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor, nn

from clever.augmentation import ExtraView, View, ViewOptions
from clever.backbones import BackboneOptions
from clever.backbones.representation import Split
from clever.baselines import Baseline, HeadOutput
from clever.options import Options

MakeBaseline = Callable[[Mapping[str, object]], Baseline]
"""Builds one instance of the run's baseline, with some of its options replaced."""


class Term(NamedTuple):
    """One summand of the objective."""

    value: Tensor
    """Scalar, before weighting: what metrics.csv records."""
    weight: float


@dataclass(frozen=True)
class Encoded:
    """What one network makes of the views of a batch."""

    features: list[Tensor]
    """One [N, feature_dim] representation a view."""
    outputs: dict[str, list[HeadOutput]]
    """For each part of the representation, one head output a view."""
    extra: dict[str, Tensor] = field(default_factory=dict)
    """[M, feature_dim] representations of the images of ``Equivariance.extra_images``, by their names."""


class EquivarianceOptions(Options):
    """Options of an equivariance add-on; ``name`` chooses it."""

    name: str

    @property
    def redraws(self) -> int:
        """How many further values of the first view's differentiable parameters the terms need beside the gradient to
        them; 0 where they need neither."""
        return 0

    def extra_views(self) -> tuple[ExtraView, ...]:
        """The views that the terms need beyond those of the recipe."""
        return ()

    def refusal(self, views: ViewOptions, backbone: BackboneOptions) -> str | None:
        """Why the add-on cannot work with these views or this backbone, and what would; None where it can.

        Called before anything runs. What every add-on's demands on the views imply is checked afterwards, in words
        that fit all of them.
        """
        return None


class Equivariance(nn.Module, ABC):
    """Cuts the representation into parts, puts one baseline on each, and turns their outputs into named terms.

    A subclass is built from ``(options, feature_dim, make_baseline, space)``: its options, the width of the
    representation, what builds a baseline, and the space of the views' parameters.

    Args:
        parts: name and columns of every part that has a head.
        make_baseline: builds the baseline of a part.
        replaced: for some parts, options of the baseline that differ there.
    """

    split: Split | None = None
    """How the representation divides into IR and EF; None where it does not."""

    def __init__(
        self,
        parts: Mapping[str, slice],
        make_baseline: MakeBaseline,
        replaced: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:
        super().__init__()
        self.parts = dict(parts)
        self.baselines = nn.ModuleDict({part: make_baseline((replaced or {}).get(part, {})) for part in parts})

    def baseline(self, part: str) -> Baseline:
        """The baseline on one part."""
        module = self.baselines[part]
        assert isinstance(module, Baseline)
        return module

    def make_heads(self) -> nn.ModuleDict:
        """The layers on each part, for the network to own."""
        return nn.ModuleDict(
            {part: self.baseline(part).make_head(columns.stop - columns.start) for part, columns in self.parts.items()}
        )

    def make_layers(self) -> nn.ModuleDict:
        """Further trainable layers, for the student alone to own (a predictor, a rotation head)."""
        return nn.ModuleDict()

    def extra_images(self, views: Sequence[View]) -> dict[str, Tensor]:
        """Images [M, 3, S, S] to encode beside the views, by name; each name is a pass of its own.

        Args:
            views: those of the recipe, then those of ``EquivarianceOptions.extra_views``.
        """
        return {}

    @abstractmethod
    def forward(
        self,
        student: Encoded,
        teacher: Encoded,
        heads: nn.ModuleDict,
        layers: nn.ModuleDict | None = None,
        views: Sequence[View] = (),
    ) -> dict[str, Term]:
        """The named terms of the objective for one batch.

        Args:
            student: all views of the recipe, the two global ones first, and the extra images.
            teacher: the global views, of the momentum teacher or (without one) the student itself.
            heads: the student's heads, for terms on their parameters.
            layers: what :meth:`make_layers` gave; an add-on without layers of its own may go without.
            views: those of the recipe, then the extra ones; an add-on that reads no parameters may go without.
        """

    def diagnose(self, student: Encoded, layers: nn.ModuleDict, views: Sequence[View]) -> Mapping[str, Tensor]:
        """Named scalars that tell whether the equivariance is learned; computed now and then, without gradients."""
        return {}

    def observe(self, teacher: Encoded) -> None:
        """Let every baseline update its running state, once the step's losses are known."""
        for part in self.parts:
            self.baseline(part).observe(teacher.outputs[part])

    def start_epoch(self, epoch: int) -> None:
        """Let every baseline set what it schedules by epoch."""
        for part in self.parts:
            self.baseline(part).start_epoch(epoch)

    def constant_rate_parameters(self, heads: nn.ModuleDict) -> list[nn.Parameter]:
        """Parameters of the student's heads whose learning rate stays at its peak after the warm-up."""
        return [p for part in self.parts for p in self.baseline(part).constant_rate_parameters(heads[part])]

    def frozen_parameters(self, heads: nn.ModuleDict, epoch: int) -> list[nn.Parameter]:
        """Parameters of the student's heads whose gradients are dropped in this epoch."""
        return [p for part in self.parts for p in self.baseline(part).frozen_parameters(heads[part], epoch)]
