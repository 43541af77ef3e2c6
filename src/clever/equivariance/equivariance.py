"""The interface of an equivariance add-on: what is learned beside, or instead of, plain invariance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

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


class EquivarianceOptions(Options):
    """Options of an equivariance add-on; ``name`` chooses it."""

    name: str


class Equivariance(nn.Module, ABC):
    """Cuts the representation into parts, puts one baseline on each, and turns their outputs into named terms.

    Args:
        feature_dim: width of the representation.
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

    @abstractmethod
    def forward(self, student: Encoded, teacher: Encoded, heads: nn.ModuleDict) -> dict[str, Term]:
        """The named terms of the objective for one batch.

        Args:
            student: all views, the two global ones first.
            teacher: the global views, of the momentum teacher or (without one) the student itself.
            heads: the student's heads, for terms on their parameters.
        """

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
