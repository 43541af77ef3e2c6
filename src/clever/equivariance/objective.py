"""The objective of a run: an add-on with one baseline on each of its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from clever.augmentation import View
from clever.backbones.representation import Split
from clever.baselines import AnyBaseline, HeadOutput, Samples
from clever.equivariance.batch import Batch, ComparedPart, Encoded, Heads, Term
from clever.equivariance.equivariance import Equivariance

MakeBaseline = Callable[[Mapping[str, object]], AnyBaseline]
"""Builds one instance of the run's baseline, with some options overridden."""


class Objective(nn.Module):
    """Turns encodings into named terms, and declares what the method requires of networks, optimiser and schedule.

    It has no parameters. Its only state is the state of its baselines (centres, queues).

    Args:
        add_on: the add-on, which learns something in addition to invariance.
        make_baseline: builds the baseline of a part.
    """

    def __init__(self, add_on: Equivariance, make_baseline: MakeBaseline) -> None:
        super().__init__()
        self.add_on = add_on
        self.baselines = nn.ModuleDict(
            {name: make_baseline(part.baseline_options) for name, part in add_on.parts.items()}
        )
        leading = self.baseline(next(iter(add_on.parts)))
        # Kept in a tuple, so that torch does not register the module twice.
        self._leading = (leading,)
        facts = leading.options
        self.has_momentum_teacher: bool = facts.has_momentum_teacher
        self.evaluates_teacher: bool = facts.has_momentum_teacher and facts.evaluates_teacher
        """Whether the momentum teacher's backbone is the one that is evaluated."""
        self.views_apart: bool = facts.views_apart
        self.teacher_groups: int = leading.teacher_groups
        self.reads_samples: bool = facts.reads_samples
        self.remembers_images: bool = facts.remembers_images
        self.feature_maps: tuple[int, ...] = leading.feature_maps
        """Numbers of the backbone's feature maps that the baseline needs from the teacher."""

    def prepare(self, training_images: int | None = None, map_widths: Sequence[int] = ()) -> None:
        """Prepare every baseline (``Baseline.prepare``); called once, before heads are made."""
        for part in self.parts:
            self.baseline(part).prepare(training_images, map_widths)

    @property
    def parts(self) -> dict[str, slice]:
        """Name and columns of every part with a head."""
        return {name: part.columns for name, part in self.add_on.parts.items()}

    @property
    def split(self) -> Split | None:
        """The division of the representation into IR and EF; None without a split."""
        return self.add_on.split

    def baseline(self, part: str) -> AnyBaseline:
        """The baseline on one part."""
        return cast(AnyBaseline, self.baselines[part])

    def make_heads(self) -> Heads:
        """Create a head for each part; the network owns the heads."""
        heads = {}
        for name, part in self.add_on.parts.items():
            make_head = part.make_head or self.baseline(name).make_head
            heads[name] = make_head(part.columns.stop - part.columns.start)
        return Heads(heads)

    def teacher_momentum(self, progress: float) -> float | None:
        """Momentum of the teacher after a fraction ``progress`` in [0, 1] of all steps; None without a teacher."""
        return self._leading[0].options.teacher_momentum(progress) if self.has_momentum_teacher else None

    def batch(
        self,
        student: Encoded,
        teacher: Encoded,
        views: Mapping[str, View] | None = None,
        samples: Samples | None = None,
    ) -> Batch:
        """Combine a step's encodings with the baselines that compare them; see :class:`Batch`."""
        if samples is not None and self.feature_maps:
            samples = samples._replace(maps=teacher.maps)
        parts = {
            part: ComparedPart(self.baseline(part), student.heads[part], outputs, teacher.outputs[part], samples)
            for part, outputs in student.outputs.items()
        }
        return Batch(views or {}, student, teacher, parts)

    def terms(self, batch: Batch) -> dict[str, Term]:
        """The named terms of the objective for one batch."""
        return self.add_on.terms(batch)

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalars of the baseline (on the first part) and of the add-on."""
        part = next(iter(batch.parts.values()))
        return {**part.baseline.diagnose(part.student, part.teacher), **self.add_on.diagnose(batch)}

    def observe(self, teachers: Sequence[Encoded], samples: Samples | None = None) -> None:
        """Update every baseline's running state, after the step's losses are computed.

        Args:
            teachers: the teacher's encodings of each chunk of an accumulated batch, or of the whole batch.
            samples: the images of the whole batch; None unless ``reads_samples``.
        """
        if samples is not None and self.feature_maps:
            samples = samples._replace(
                maps=[joined_maps(view) for view in zip(*(t.maps for t in teachers), strict=True)]
            )
        for part in self.parts:
            views = zip(*(teacher.outputs[part] for teacher in teachers), strict=True)
            self.baseline(part).observe_samples([joined(view) for view in views], samples)

    def start_epoch(self, epoch: int) -> None:
        """Update every baseline's per-epoch schedules."""
        for part in self.parts:
            self.baseline(part).start_epoch(epoch)

    def constant_rate_parameters(self, heads: Heads) -> list[nn.Parameter]:
        """Parameters of the student's heads whose learning rate stays at its peak after the warm-up."""
        return [p for part in self.parts for p in self.baseline(part).constant_rate_parameters(heads[part])]

    def frozen_parameters(self, heads: Heads, epoch: int) -> list[nn.Parameter]:
        """Parameters of the student's heads whose gradients are dropped in this epoch."""
        return [p for part in self.parts for p in self.baseline(part).frozen_parameters(heads[part], epoch)]


def joined(outputs: Sequence[HeadOutput]) -> HeadOutput:
    """The outputs of the chunks of a batch concatenated, [N, K], without gradient; a single chunk is not copied."""
    if len(outputs) == 1:
        return outputs[0]
    predictions = [output.prediction for output in outputs if output.prediction is not None]
    projection = torch.cat([output.projection for output in outputs]).detach()
    return HeadOutput(projection, torch.cat(predictions).detach() if predictions else None)


def joined_maps(chunks: Sequence[Mapping[int, Tensor]]) -> Mapping[int, Tensor]:
    """The feature maps of the chunks of a batch concatenated, [N, C, H, W]; a single chunk is not copied."""
    if len(chunks) == 1:
        return chunks[0]
    return {number: torch.cat([chunk[number] for chunk in chunks]) for number in chunks[0]}
