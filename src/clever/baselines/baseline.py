"""The interface of a baseline: how two views of an image are compared.

A baseline knows tensors only: neither backbones, nor images, nor what part of the representation it works on. CLeVER
uses two instances of one baseline side by side, one whose outputs are attracted (on the invariant representation)
and one whose similarity is driven to zero (on the equivariant factor), so that any baseline of this interface can be
made equivariant without a line of its own for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from torch import Tensor, nn

from clever.errors import UserError
from clever.options import Options


class HeadOutput(NamedTuple):
    """What a head gives for one view of a batch of N images."""

    projection: Tensor
    """[N, K]: the output that a teacher hands on (DINO: logits)."""
    prediction: Tensor | None = None
    """[N, K]: the output of a predictor on top of the projection; None where the baseline has no predictor."""


class Head(nn.Module, ABC):
    """Layers from a part of the representation to the output that is compared, and what others ask about them.

    The network owns a head; a momentum teacher has a copy of its own.
    """

    @abstractmethod
    def forward(self, features: Tensor) -> HeadOutput:
        """Features [M, width] to outputs [M, K]."""

    @abstractmethod
    def last_layer_parameters(self) -> list[nn.Parameter]:
        """The parameters whose squared norm grows with the width of the output.

        Those of the layers that give projection and prediction, including a BatchNorm after them: CLeVER's head-norm
        regulariser can leave them out.
        """

    def projection_parameters(self) -> list[nn.Parameter]:
        """The parameters of the layers up to the projection; by default all."""
        return list(self.parameters())

    def prediction_parameters(self) -> list[nn.Parameter]:
        """The parameters of the predictor on top of the projection; none without one."""
        return []

    def norm_groups(self) -> list[list[nn.Parameter]]:
        """The groups of parameters whose summed squared norms CLeVER balances between its two heads.

        One group of everything, as in the authors' main_dino.py:404-416; two with a predictor, as DDCL's regulariser
        balances them (authors' main_simsiam.py), whose differences are averaged.
        """
        return [group for group in (self.projection_parameters(), self.prediction_parameters()) if group]


HeadKind = TypeVar("HeadKind", bound=Head)


class Baseline(nn.Module, ABC, Generic[HeadKind]):
    """One way of comparing views, with the state that its loss needs (a centre, a queue, ...).

    One instance serves one part of the representation. It has no trainable layers: ``make_head`` builds them for the
    network, and whoever asks the baseline about outputs hands it the head that gave them.
    """

    has_momentum_teacher: ClassVar[bool]
    """True: a teacher, the exponential moving average of the student, encodes the global views. False: the
    student's own outputs of the global views are the targets."""

    accepts_local_views: ClassVar[bool]
    """True: the student may see any number of small local views beside the two global ones. False: a run with local
    views is refused, before it trains."""

    views_apart: ClassVar[bool] = False
    """True: every view goes through backbone and head in a pass of its own, so that BatchNorm normalises each view with
    that view's statistics, as the authors of two-view methods do. False: views of equal size go through together."""

    evaluates_teacher: ClassVar[bool] = True
    """Whether it is the momentum teacher's backbone that is evaluated, where there is one (DINO), or the student's
    (BYOL, MoCo v3)."""

    @abstractmethod
    def make_head(self, width: int) -> HeadKind:
        """A head for a part of ``width`` numbers."""

    @abstractmethod
    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: HeadKind) -> Tensor:
        """The baseline's own loss, a scalar.

        Args:
            student: one output a student view, the two global views first.
            teacher: one output a global view, of the teacher or (without one) the student itself.
            head: the student's head, for a loss that depends on more of it than its outputs (SwAV's prototypes).
        """

    @abstractmethod
    def similarity(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: HeadKind) -> Tensor:
        """How similar the views of one image are, a scalar >= 0 that is 0 when they are orthogonal.

        Arguments as of :meth:`attract`.
        """

    def observe(self, teacher: Sequence[HeadOutput]) -> None:
        """Update running state (a centre, a queue) from this step's teacher outputs, after the losses."""

    def start_epoch(self, epoch: int) -> None:
        """Set what the baseline itself schedules by epoch (a temperature); ``epoch`` counts from 0."""

    def frozen_parameters(self, head: HeadKind, epoch: int) -> list[nn.Parameter]:
        """Parameters of ``head`` whose gradient is dropped in this epoch."""
        return []

    def constant_rate_parameters(self, head: HeadKind) -> list[nn.Parameter]:
        """Parameters of ``head`` whose learning rate stays at its peak after the warm-up (SimSiam's predictor)."""
        return []

    def teacher_momentum(self, progress: float) -> float:
        """Momentum of the teacher after the share ``progress`` in [0, 1] of all steps."""
        raise TypeError(f"{type(self).__name__} has no momentum teacher")

    def diagnose(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput]) -> Mapping[str, Tensor]:
        """Named scalars that tell a healthy run from a collapsed one; computed now and then, without gradients."""
        return {}


AnyBaseline = Baseline[Any]
"""A baseline whatever its head."""


def two_views(name: str, outputs: Sequence[HeadOutput]) -> tuple[HeadOutput, HeadOutput]:
    """The outputs of exactly two views.

    Raises:
        UserError: there are more or fewer, which the method called ``name`` cannot compare.
    """
    if len(outputs) != 2:
        raise UserError(
            f"{name} compares exactly two views, not {len(outputs)}: set the augmentation's local_views to 0"
        )
    return outputs[0], outputs[1]


class BaselineOptions(Options):
    """Options of a baseline; ``name`` chooses it."""

    name: str
