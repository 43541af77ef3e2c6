"""The interface of a baseline: how two views of an image are compared.

A baseline works on tensors only. It knows neither backbones, nor images, nor which part of the representation it
compares. CLeVER uses two instances of one baseline: one attracts its outputs (on the invariant representation), the
other drives their similarity to zero (on the equivariant factor). Any baseline with this interface can therefore be
made equivariant without extra code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from torch import Tensor, nn

from clever.baselines.options.baseline import BaselineOptions
from clever.baselines.samples import Samples
from clever.errors import UserError


class HeadOutput(NamedTuple):
    """The outputs of a head for one view of a batch of N images."""

    projection: Tensor
    """[N, K]: the output that a teacher's head provides as the target (DINO: logits)."""
    prediction: Tensor | None = None
    """[N, K]: the output of a predictor on top of the projection; None if the baseline has no predictor."""


class Head(nn.Module, ABC):
    """The layers that map a part of the representation to the output that is compared, and facts about these layers.

    The network owns the head; a momentum teacher has a separate copy.
    """

    @abstractmethod
    def forward(self, features: Tensor) -> HeadOutput:
        """Features [M, width] to outputs [M, K]."""

    @abstractmethod
    def last_layer_parameters(self) -> list[nn.Parameter]:
        """The parameters whose squared norm grows with the width of the output.

        These are the parameters of the layers that compute the projection and the prediction, including a BatchNorm
        after them. CLeVER's head-norm regulariser can exclude them.
        """

    def projection_parameters(self) -> list[nn.Parameter]:
        """The parameters of the layers up to the projection; by default all."""
        return list(self.parameters())

    def prediction_parameters(self) -> list[nn.Parameter]:
        """The parameters of the predictor on top of the projection; empty without a predictor."""
        return []

    def norm_groups(self) -> list[list[nn.Parameter]]:
        """The groups of parameters whose summed squared norms CLeVER balances between its two heads.

        Without a predictor, one group holds all parameters, as in the authors' main_dino.py:404-416. With a predictor,
        there are two groups, and their differences are averaged, as in DDCL's regulariser (authors' main_simsiam.py).
        """
        return [group for group in (self.projection_parameters(), self.prediction_parameters()) if group]


HeadKind = TypeVar("HeadKind", bound=Head)


class Baseline(nn.Module, ABC, Generic[HeadKind]):
    """Compares views, and holds the state that its loss needs (a centre, a queue, ...).

    One instance serves one part of the representation. It has no trainable layers: ``make_head`` builds them for the
    network, and callers pass the head together with its outputs.
    """

    options: BaselineOptions
    """A subclass annotates its own class of options."""

    feature_maps: tuple[int, ...] = ()
    """Indices of the backbone's feature maps that the baseline needs (``Backbone.forward_with_maps``). Such a baseline
    reads samples, and gets the teacher's maps of both global views in ``Samples.maps``."""

    teacher_groups: int = 1
    """Number of random groups of images into which a momentum teacher's forward passes are divided. Each group has its
    own BatchNorm statistics (MoCo's shuffled BatchNorm). 1: one pass over all images."""

    def __init__(self, options: BaselineOptions) -> None:
        super().__init__()
        self.options = options

    def prepare(self, training_images: int | None = None, map_widths: Sequence[int] = ()) -> None:
        """Create the state that depends on the data or on the backbone; called once, before everything else.

        Args:
            training_images: number of images in the training split; None if nothing is trained.
            map_widths: channels of each of the backbone's feature maps (``Backbone.feature_map_widths``).
        """

    @abstractmethod
    def make_head(self, width: int) -> HeadKind:
        """Create a head for a part of the representation with ``width`` entries."""

    @abstractmethod
    def attract(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: HeadKind) -> Tensor:
        """The baseline's own loss, a scalar.

        Args:
            student: one output per student view, the two global views first.
            teacher: one output per global view, from the teacher or, without one, from the student itself.
            head: the student's head, for losses that need more than its outputs (SwAV's prototypes).
        """

    def attract_samples(
        self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: HeadKind, samples: Samples | None
    ) -> Tensor:
        """Like :meth:`attract`, for a loss that depends on the images; ``samples`` is None unless ``reads_samples``."""
        return self.attract(student, teacher, head)

    @abstractmethod
    def similarity(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput], head: HeadKind) -> Tensor:
        """The similarity of an image's views: a scalar >= 0 that is 0 when they are orthogonal.

        The arguments are the same as for :meth:`attract`.
        """

    def observe(self, teacher: Sequence[HeadOutput]) -> None:
        """Update running state (a centre, a queue) from this step's teacher outputs; called after the losses."""

    def observe_samples(self, teacher: Sequence[HeadOutput], samples: Samples | None) -> None:
        """Like :meth:`observe`, for state that depends on the images; ``samples`` is None unless ``reads_samples``."""
        self.observe(teacher)

    def start_epoch(self, epoch: int) -> None:
        """Update the baseline's per-epoch schedules (a temperature); ``epoch`` counts from 0."""

    def frozen_parameters(self, head: HeadKind, epoch: int) -> list[nn.Parameter]:
        """Parameters of ``head`` whose gradients are dropped in this epoch."""
        return []

    def constant_rate_parameters(self, head: HeadKind) -> list[nn.Parameter]:
        """Parameters of ``head`` whose learning rate stays at its peak after the warm-up (SimSiam's predictor)."""
        return []

    def diagnose(self, student: Sequence[HeadOutput], teacher: Sequence[HeadOutput]) -> Mapping[str, Tensor]:
        """Named scalars that distinguish a healthy run from a collapsed one; computed occasionally, without
        gradients."""
        return {}


AnyBaseline = Baseline[Any]
"""A baseline with any kind of head."""


def two_views(name: str, outputs: Sequence[HeadOutput]) -> tuple[HeadOutput, HeadOutput]:
    """The outputs of exactly two views.

    Raises:
        UserError: there are more or fewer than two views; the message names the method ``name``.
    """
    if len(outputs) != 2:
        raise UserError(
            f"{name} compares exactly two views, not {len(outputs)}: set the augmentation's local_views to 0"
        )
    return outputs[0], outputs[1]
