"""One optimisation step of one run: takes a batch, updates the parameters and returns named scalars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DistributedDataParallel

from clever.augmentation import View, chunk_views, make_view_maker
from clever.augmentation.tables import upload
from clever.backbones import Backbone
from clever.baselines import Samples
from clever.collectives import average_over_processes, gather_rows, is_distributed, process_count, process_rank
from clever.data import ImageBatch
from clever.equivariance import Batch, Encoded
from clever.errors import UserError
from clever.pretraining.composition import compose
from clever.pretraining.diagnostics import diagnose_features
from clever.pretraining.network import Network
from clever.pretraining.nonfinite_guard import Guard
from clever.pretraining.optimiser import build_optimiser, clip_each, set_schedules, update_teacher
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.schedules import warmup_cosine
from clever.pretraining.shuffled_groups import encode_in_groups
from clever.randomness import derive_seed, make_generator


class Schedule(NamedTuple):
    """The scheduled values of one iteration."""

    learning_rate: float
    constant_rate: float
    """The learning rate of parameters with a constant rate: the same during the warm-up, the peak afterwards."""
    weight_decay: float
    momentum: float | None
    """Momentum of the teacher; None without a momentum teacher."""


class Trainer:
    """The networks, objective, optimiser and augmentation of a run, and the step that updates them.

    Several processes (torchrun) train as one: each process gets its rows of the global batch, draws the crops that one
    process would draw for these rows, and shares gradients, centres and BatchNorm statistics with the others.

    Args:
        recipe: a run with a method.
        mean, std: mean and standard deviation that normalise the data set.
        steps_per_epoch: optimiser steps in an epoch.
        device: where everything is computed.
        compile_backbone: torch.compile the backbones and, on a GPU, the augmentation.
        training_images: number of images in the training split, for a baseline that keeps state for each image.

    Raises:
        UserError: the batch does not divide among processes and accumulated chunks, or BatchNorm cannot be shared.
        TypeError: ``training_images`` is missing.
    """

    def __init__(
        self,
        recipe: RunRecipe,
        mean: Sequence[float],
        std: Sequence[float],
        steps_per_epoch: int,
        device: torch.device,
        compile_backbone: bool = False,
        training_images: int | None = None,
    ) -> None:
        assert recipe.augmentation is not None
        assert recipe.optimisation is not None
        self.recipe = recipe
        self.options = recipe.optimisation
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = self.options.epochs * steps_per_epoch
        self.device = device
        self.rank, self.processes = process_rank(), process_count()
        chunks = self.processes * self.options.accumulate
        if self.options.batch_size % chunks:
            raise UserError(
                f"{recipe.run}: batch_size {self.options.batch_size} is not a multiple of {self.processes} processes x "
                f"accumulate {self.options.accumulate}"
            )
        composition = compose(recipe, training_images)
        self.student, self.teacher, self.objective = composition.student, composition.teacher, composition.objective
        if self.objective.remembers_images and training_images is None:
            raise TypeError(f"{recipe.run}: the baseline remembers every training image; give training_images")
        self.initial_weights = composition.initial_weights
        convolutional = not self.student.backbone.has_blocks
        for name, module in self._modules().items():
            if is_distributed():
                _synchronise_batch_norm(module, device, f"{recipe.run}: the {name}")
            module.to(device).train()
            if convolutional:
                module.to(memory_format=torch.channels_last)
        if self.options.checkpoint_activations:
            self.student.recompute_activations()
        if compile_backbone:
            # One graph for each size of view; a single graph for all sizes would be slower.
            for network in (self.student, self.teacher):
                if network is not None:
                    network.backbone.compile(dynamic=False)
        self._shared_student: nn.Module = _share_gradients(self.student) if is_distributed() else self.student
        constant_rate = self.objective.constant_rate_parameters(self.student.heads)
        self.optimiser = build_optimiser(self.student, self.options, constant_rate)
        skip = self.options.non_finite == "skip"
        self.guard = Guard(self.optimiser, self.student, list(self._modules().values()), skip)
        assert recipe.method is not None
        add_on = self._add_on = recipe.method.equivariance
        if add_on.redraws and compile_backbone:
            raise UserError(f"{recipe.run}: {add_on.name} differentiates twice, which a compiled backbone cannot")
        extra, shared = add_on.extra_views(), add_on.shared_draws
        for group in (shared, *(view.shared_draws for view in extra)):
            if self.options.batch_size // chunks % group:
                raise UserError(
                    f"{recipe.run}: {add_on.name} lets {group} images share what is drawn for a view, and "
                    f"{self.options.batch_size // chunks} images (batch_size {self.options.batch_size} over "
                    f"{self.processes} processes x accumulate {self.options.accumulate}) do not divide into such groups"
                )
        self.view_maker = make_view_maker(recipe.augmentation, mean, std, convolutional, extra, shared)
        self.view_maker.fuse = compile_backbone
        self._last: Batch | None = None

    def schedule(self, iteration: int) -> Schedule:
        """Learning rate, weight decay and teacher momentum of one iteration, counted from 0."""
        options, total = self.options, self.total_steps
        peak = options.learning_rate * options.batch_size / 256
        warmup = round(options.warmup_epochs * self.steps_per_epoch)
        final_decay = options.weight_decay if options.final_weight_decay is None else options.final_weight_decay
        ends = {"peak": peak, "final": options.final_learning_rate}
        if options.rate_changes == "epoch":
            epoch_start = iteration - iteration % self.steps_per_epoch
            # One more iteration of warm-up, so that epoch e of w epochs has e / w of the peak.
            rate = warmup_cosine(
                epoch_start, **ends, total=total, warmup=warmup + 1 if epoch_start < warmup else warmup
            )
        else:
            rate = warmup_cosine(iteration, **ends, total=total, warmup=warmup)
        return Schedule(
            rate,
            rate if iteration < warmup else peak,
            warmup_cosine(iteration, peak=options.weight_decay, final=final_decay, total=total),
            self.objective.teacher_momentum(iteration / total),
        )

    def step(self, batch: ImageBatch, iteration: int) -> dict[str, Tensor]:
        """Update the parameters once.

        Args:
            batch: ``batch_size`` images on the device; with several processes, this process's rows of the global batch.
            iteration: number of the step, from 0; every random number of the step is a function of it and the run's
                seed.

        Returns:
            Scalars on the device: ``loss``, ``loss_<term>`` for every term before weighting, and ``gradient_norm``
            before clipping. The losses cover this process's rows.
        """
        schedule = self.schedule(iteration)
        set_schedules(self.optimiser, schedule.learning_rate, schedule.weight_decay, schedule.constant_rate)
        self.guard.begin()
        values = self.compute_gradients(batch, iteration)
        for parameter in self.objective.frozen_parameters(self.student.heads, iteration // self.steps_per_epoch):
            parameter.grad = None
        values["gradient_norm"] = clip_each(self.student.parameters(), self.options.clip_gradient)
        self.guard.step(values)
        self.optimiser.zero_grad(set_to_none=True)
        if self.teacher is not None and schedule.momentum is not None:
            for part in ("backbone", "heads"):  # extra layers of the student have no counterpart
                update_teacher(getattr(self.teacher, part), getattr(self.student, part), schedule.momentum)
        return values

    def compute_gradients(self, batch: ImageBatch, iteration: int) -> dict[str, Tensor]:
        """Compute the gradients of the whole batch and the named losses: the part of a step before the optimiser."""
        self._last = None  # free the old logits first
        # Drop path draws from the global generator, and each process must drop different paths.
        torch.manual_seed(derive_seed(self.recipe.seed, "step", iteration, self.rank))
        count = self.options.accumulate
        chunks = chunk_views(self.make_views(batch, iteration), count)
        values: dict[str, Tensor] = {}
        targets: list[Encoded] = []
        samples = self._samples(batch)
        sampled = [None] * count if samples is None else samples.chunk(count)
        for number, (views, compared) in enumerate(zip(chunks, sampled, strict=True), start=1):
            terms, teacher = self._forward_backward(views, compared, share_gradients=number == count)
            targets.append(teacher)
            for name, value in terms.items():
                values[name] = values[name] + value if name in values else value
        self.objective.observe(targets, samples)
        return values

    def _samples(self, batch: ImageBatch) -> Samples | None:
        """The images of both global views, for a baseline that reads them."""
        if not self.objective.reads_samples:
            return None
        assert self.recipe.augmentation is not None
        pairs = self.recipe.augmentation.pairs

        def of_views(values: Tensor) -> Tensor:
            # Pairs are ordered: the first photographs of all objects, then the second ones.
            return torch.stack(values.chunk(2) if pairs else (values, values))

        latents = None if batch.latents is None else of_views(batch.latents)
        return Samples(of_views(batch.indices), of_views(batch.labels), latents)

    def make_views(self, batch: ImageBatch, iteration: int) -> list[View]:
        """The views of this process's images.

        The random numbers are drawn for the global batch, of which this process uses its rows, so an image gets the
        same views on any number of processes.
        """
        seed, add_on = self.recipe.seed, self._add_on
        chunk = self.rank, self.processes
        sizes = batch.sizes.cpu()
        tables = self.view_maker.draw(sizes, make_generator(seed, "augmentation", iteration), *chunk)
        views = self.view_maker.apply(
            batch.pixels,
            sizes,
            tables,
            latents=getattr(batch, "latents", None),
            differentiable=add_on.redraws > 0,
        )
        if add_on.redraws:
            generator = make_generator(seed, "redraws", iteration)
            redrawn = self.view_maker.redraw(len(views[0].images), add_on.redraws, generator, *chunk)
            views[0] = replace(views[0], redrawn=upload(redrawn, self.device))
        return views

    def _forward_backward(
        self, views: list[View], samples: Samples | None, share_gradients: bool
    ) -> tuple[dict[str, Tensor], Encoded]:
        fraction = 1.0 / self.options.accumulate
        named = dict(zip(self.view_maker.names, views, strict=True))
        images = [view.images for view in views if view.kind != "extra"]
        network = self._shared_student
        # Each process sums the gradients of all chunks; the sum is shared once.
        shared = isinstance(network, DistributedDataParallel)
        with network.no_sync() if shared and not share_gradients else nullcontext():  # type: ignore[operator]
            with (
                torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.precision == "bf16"),
                # The other attention kernels cannot be differentiated twice.
                sdpa_kernel(SDPBackend.MATH) if self._add_on.redraws else nullcontext(),
            ):
                extra = self.objective.add_on.extra_images(named)
                student: Encoded = network(images, extra)
                teacher = self._encode_targets(images[:2], extra, student)
                batch = self.objective.batch(student, teacher, named, samples)
                terms = self.objective.terms(batch)
            loss: Tensor = sum(
                (term.weight * term.value for term in terms.values()), torch.zeros((), device=self.device)
            )
            with self.student.recomputing():
                (loss * fraction).backward()  # type: ignore[no-untyped-call]
        self._last = batch
        values = {"loss": loss} | {f"loss_{name}": term.value for name, term in terms.items()}
        return {name: value.detach() * fraction for name, value in values.items()}, teacher

    def _encode_targets(self, global_views: Sequence[Tensor], extra: Mapping[str, Tensor], student: Encoded) -> Encoded:
        if self.teacher is None:
            count = len(global_views)
            outputs = {part: views[:count] for part, views in student.outputs.items()}
            return replace(student, features=student.features[:count], outputs=outputs, maps=student.maps[:count])
        with torch.no_grad():
            wanted = extra if self.objective.add_on.teacher_sees_extra else {}
            if self.objective.teacher_groups > 1:
                return encode_in_groups(self.teacher, global_views, wanted, self.objective.teacher_groups)
            encoded: Encoded = self.teacher(global_views, wanted)
        return encoded

    @torch.no_grad()
    def diagnose(self) -> dict[str, float]:
        """The health of the representation on the last step's batch (see ``pretraining.diagnostics``).

        Uses the rows of all processes, and only the last chunk of an accumulated batch.
        """
        assert self._last is not None, "diagnose follows a step"
        values = diagnose_features(self.parts, [gather_rows(view) for view in self._last.student.features[:2]])
        diagnosed = self.objective.diagnose(self._last)
        return {name: average_over_processes(value).item() for name, value in diagnosed.items()} | values

    @property
    def parts(self) -> dict[str, slice]:
        """Columns of the whole representation (``all``) and, if it is split, of ``ir`` and ``ef``."""
        split, width = self.objective.split, self.student.backbone.feature_dim
        halves = {} if split is None else {"ir": slice(0, split.ir_dim), "ef": slice(split.ir_dim, split.feature_dim)}
        return {"all": slice(0, width), **halves}

    def trained_backbone(self) -> Backbone:
        """The backbone to evaluate: the teacher's if the method evaluates the teacher (DINO), else the student's."""
        if self.teacher is not None and self.objective.evaluates_teacher:
            return self.teacher.backbone
        return self.student.backbone

    def state_dict(self) -> dict[str, Any]:
        """The state that later steps depend on."""
        return {name: module.state_dict() for name, module in self._modules().items()} | {
            "optimiser": self.optimiser.state_dict(),
            "skipped_in_a_row": self.guard.in_a_row,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a ``state_dict``."""
        for name, module in self._modules().items():
            module.load_state_dict(state[name])
        self.optimiser.load_state_dict(state["optimiser"])
        self.guard.in_a_row = state["skipped_in_a_row"]

    def _modules(self) -> dict[str, nn.Module]:
        modules: dict[str, nn.Module] = {"student": self.student, "objective": self.objective}
        return modules if self.teacher is None else modules | {"teacher": self.teacher}


def _synchronise_batch_norm(module: nn.Module, device: torch.device, owner: str) -> None:
    """Make every BatchNorm in ``module`` normalise with the batches of all processes."""
    if not any(isinstance(child, nn.modules.batchnorm._BatchNorm) for child in module.modules()):
        return
    if device.type != "cuda":
        raise UserError(
            f"{owner} has BatchNorm, which processes can share on GPUs only; train on GPUs, in one process with more "
            "threads, or with a backbone without BatchNorm (vit_tiny)"
        )
    convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]


def _share_gradients(student: Network) -> DistributedDataParallel:
    devices = [device.index] if (device := next(student.parameters()).device).type == "cuda" else None
    return DistributedDataParallel(student, device_ids=devices, gradient_as_bucket_view=True)
