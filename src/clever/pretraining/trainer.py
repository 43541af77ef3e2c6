"""One optimisation step of one run: views in, parameters moved, named scalars out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from clever.augmentation import Augmentation
from clever.config import RunRecipe
from clever.data import ImageBatch
from clever.equivariance import Encoded
from clever.pretraining.composition import compose
from clever.pretraining.diagnostics import diagnose_features
from clever.pretraining.optimiser import build_optimiser, clip_each, set_schedules, update_teacher
from clever.pretraining.schedules import warmup_cosine
from clever.randomness import derive_seed, make_generator


class Schedule(NamedTuple):
    """What is scheduled by iteration."""

    learning_rate: float
    weight_decay: float
    momentum: float | None
    """Of the teacher; None without one."""


class Trainer:
    """The networks, objective, optimiser and augmentation of a run, and how one step moves them.

    Args:
        recipe: a run with a method.
        mean, std: what the data set is normalised with.
        steps_per_epoch: optimiser steps in an epoch.
        device: where everything is computed.
        compile_backbone: torch.compile the student's backbone.
    """

    def __init__(
        self,
        recipe: RunRecipe,
        mean: Sequence[float],
        std: Sequence[float],
        steps_per_epoch: int,
        device: torch.device,
        compile_backbone: bool = False,
    ) -> None:
        assert recipe.augmentation is not None and recipe.optimisation is not None
        self.recipe = recipe
        self.options = recipe.optimisation
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = self.options.epochs * steps_per_epoch
        self.device = device
        composition = compose(recipe)
        self.student, self.teacher, self.objective = composition.student, composition.teacher, composition.objective
        convolutional = not self.student.backbone.has_blocks
        for module in self._modules().values():
            module.to(device, memory_format=torch.channels_last if convolutional else torch.preserve_format).train()
        if compile_backbone:
            self.student.backbone.compile()
        self.optimiser = build_optimiser(self.student, self.options)
        self.augmentation = Augmentation(recipe.augmentation, mean, std, channels_last=convolutional)
        self._last: tuple[Encoded, Encoded] | None = None

    def schedule(self, iteration: int) -> Schedule:
        """Learning rate, weight decay and teacher momentum of one iteration, counted from 0."""
        options, total = self.options, self.total_steps
        peak = options.learning_rate * options.batch_size / 256
        warmup = round(options.warmup_epochs * self.steps_per_epoch)
        final_decay = options.weight_decay if options.final_weight_decay is None else options.final_weight_decay
        part = next(iter(self.objective.parts))
        return Schedule(
            warmup_cosine(iteration, peak=peak, final=options.final_learning_rate, total=total, warmup=warmup),
            warmup_cosine(iteration, peak=options.weight_decay, final=final_decay, total=total),
            None if self.teacher is None else self.objective.baseline(part).teacher_momentum(iteration / total),
        )

    def step(self, batch: ImageBatch, iteration: int) -> dict[str, Tensor]:
        """Move the parameters once.

        Args:
            batch: ``batch_size`` images on the device.
            iteration: from 0; every random number of the step is a function of it and the run's seed.

        Returns:
            Scalars on the device: ``loss``, ``loss_<term>`` of every term before weighting, and ``gradient_norm``
            before clipping.
        """
        schedule = self.schedule(iteration)
        set_schedules(self.optimiser, schedule.learning_rate, schedule.weight_decay)
        torch.manual_seed(derive_seed(self.recipe.seed, "step", iteration))
        views = self.augmentation(batch.pixels, batch.sizes, make_generator(self.recipe.seed, "augmentation", iteration))
        values: dict[str, Tensor] = {}
        micro_batches = zip(*(view.images.chunk(self.options.accumulate) for view in views), strict=True)
        for images in micro_batches:
            for name, value in self._forward_backward(images).items():
                values[name] = values[name] + value if name in values else value
        for parameter in self.objective.frozen_parameters(self.student.heads, iteration // self.steps_per_epoch):
            parameter.grad = None
        values["gradient_norm"] = clip_each(self.student.parameters(), self.options.clip_gradient)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.teacher is not None and schedule.momentum is not None:
            update_teacher(self.teacher, self.student, schedule.momentum)
        return values

    def _forward_backward(self, images: Sequence[Tensor]) -> dict[str, Tensor]:
        share = 1.0 / self.options.accumulate
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.precision == "bf16"):
            student = self.student(images)
            teacher = self._encode_targets(images[:2], student)
            terms = self.objective(student, teacher, self.student.heads)
        loss = sum((term.weight * term.value for term in terms.values()), torch.zeros((), device=self.device))
        (loss * share).backward()
        self.objective.observe(teacher)
        self._last = student, teacher
        values = {"loss": loss} | {f"loss_{name}": term.value for name, term in terms.items()}
        return {name: value.detach() * share for name, value in values.items()}

    def _encode_targets(self, global_views: Sequence[Tensor], student: Encoded) -> Encoded:
        if self.teacher is None:
            outputs = {part: views[: len(global_views)] for part, views in student.outputs.items()}
            return Encoded(student.features[: len(global_views)], outputs)
        with torch.no_grad():
            encoded: Encoded = self.teacher(global_views)
        return encoded

    @torch.no_grad()
    def diagnose(self) -> dict[str, float]:
        """The health of the representation on the last step's batch (see ``pretraining.diagnostics``)."""
        assert self._last is not None, "diagnose follows a step"
        student, teacher = self._last
        whole = {"all": slice(0, student.features[0].shape[1])}
        parts = self.objective.parts if self.objective.split else {}
        values = diagnose_features(whole | parts, student.features)
        part = next(iter(self.objective.parts))
        diagnosed = self.objective.baseline(part).diagnose(student.outputs[part], teacher.outputs[part])
        return {name: value.item() for name, value in diagnosed.items()} | values

    def forget_batch(self) -> None:
        """Let go of the last step's activations."""
        self._last = None

    def trained_backbone(self) -> nn.Module:
        """The backbone to evaluate: the teacher's, or the student's where there is no teacher."""
        return (self.teacher or self.student).backbone

    def state_dict(self) -> dict[str, Any]:
        """Everything that later steps depend on."""
        return {name: module.state_dict() for name, module in self._modules().items()} | {
            "optimiser": self.optimiser.state_dict()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where ``state_dict`` left off."""
        for name, module in self._modules().items():
            module.load_state_dict(state[name])
        self.optimiser.load_state_dict(state["optimiser"])

    def _modules(self) -> dict[str, nn.Module]:
        modules: dict[str, nn.Module] = {"student": self.student, "objective": self.objective}
        return modules if self.teacher is None else modules | {"teacher": self.teacher}
