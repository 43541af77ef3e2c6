"""Two steps of a run on the CPU and on the pretended GPU, and a comparison of their values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from clever.data import Batches, Store
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer

from .gpu import DEVICE, CudaTensor, pretended_gpu

EPOCH_END = {
    "pretraining/nonfinite_guard.py:Guard.check": "the scalars of the steps since the last look, in one copy",
    "pretraining/diagnostics.py:diagnose_features": "one number for metrics.csv at a time",
    "pretraining/diagnostics.py:effective_rank": "whether features are finite, and their singular values",
    "pretraining/trainer.py:Trainer.diagnose.<locals>.<dictcomp>": "one number for metrics.csv at a time",
}
"""Places where the loop may wait for the device at the end of an epoch, with the reason."""

TOLERANCES = {"fp32": ((1e-4, 1e-5), (2e-2, 1e-3)), "bf16": ((5e-2, 1e-2), None)}
"""Relative and absolute tolerances for the losses of the first and the second step. Sums are added in another order,
and AdamW magnifies the difference if a gradient is near 0. For bfloat16, autocast's lists of operations differ between
CUDA and the CPU, so the second step is not compared."""

GRADIENT_TOLERANCE = 1e-3
"""Relative tolerances for the gradient norm in the first step: BatchNorm over a few values makes gradients about one
digit less accurate than losses. The largest deviation over all pairs is 2e-4 (groco with care, whose sorting is
steep)."""

ONLY_IN_FP32 = ("gradient_norm", "loss_gradient")
"""Cases that are too inaccurate in bfloat16 to compare: squares of gradients; some of the CPU's bfloat16 convolutions
even have wrong gradients on 1x1 maps."""


def rehearse(recipe: RunRecipe, store: Store, placement: Any = "device") -> dict[str, float]:
    """Train on both devices and compare. The second step on the GPU must not wait; the first one may, because it
    creates persistent objects.

    Returns:
        The losses of the second step.
    """
    tolerances = TOLERANCES["fp32" if recipe.optimisation is None else recipe.optimisation.precision]
    compared = sum(tolerance is not None for tolerance in tolerances)
    on_cpu, expected, diagnosed = _steps(recipe, store, torch.device("cpu"), "host", compared)
    with pretended_gpu() as gpu:
        on_gpu, found, rehearsed = _steps(recipe, store, DEVICE, placement, 2, gpu)
        assert rehearsed.keys() == diagnosed.keys()
        tensors = dict(_tensors(on_gpu))
        for name, tensor in tensors.items():
            assert isinstance(tensor, CudaTensor) or name.endswith(_ON_THE_HOST), f"{name} was left on the host"
        shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
        assert shapes == {name: (tensor.shape, tensor.dtype) for name, tensor in _tensors(on_cpu)}
        for first, second, tolerance in zip(found, expected, tolerances, strict=False):
            assert list(first) == list(second)
            for name, value in first.items():
                assert isinstance(value, CudaTensor), f"{name} is on the host"
                assert (value.shape, value.dtype) == (second[name].shape, second[name].dtype), name
                if tolerance is None or (compared == 1 and name in ONLY_IN_FP32):
                    continue
                rtol, atol = tolerance
                if name == "gradient_norm":
                    rtol = max(rtol, GRADIENT_TOLERANCE)
                torch.testing.assert_close(
                    value.value, second[name], rtol=rtol, atol=atol, msg=lambda m, n=name: f"{n}: {m}"
                )
        return {name: value.value.item() for name, value in found[-1].items()}


_ON_THE_HOST = ("optimiser.step",)


def _steps(
    recipe: RunRecipe, store: Store, device: torch.device, placement: Any, count: int, gpu: Any = None
) -> tuple[Trainer, list[dict[str, Tensor]], dict[str, float]]:
    assert recipe.augmentation is not None
    assert recipe.optimisation is not None
    batches = Batches(
        store.split("train"),
        recipe.optimisation.batch_size,
        seed=0,
        device=device,
        placement=placement,
        pairs=recipe.augmentation.pairs,
    )
    images = len(store.split("train"))
    trainer = Trainer(recipe, store.mean, store.std, len(batches), device, training_images=images)
    found = []
    for iteration, batch in enumerate(batches.epoch(0)):
        trainer.objective.start_epoch(0)
        if gpu is None or not iteration:
            found.append(trainer.step(batch, iteration))
        else:
            with gpu.waits_forbidden():
                found.append(trainer.step(batch, iteration))
        if len(found) == count:
            break
    if gpu is None:
        return trainer, found, trainer.diagnose()
    with gpu.waits_forbidden(EPOCH_END):
        checked = trainer.guard.check(1)
        assert (len(checked.rows), checked.faults) == (len(found), [])
        return trainer, found, trainer.diagnose()


def _tensors(trainer: Trainer) -> Iterator[tuple[str, Tensor]]:
    """Everything that a step may change, by name."""
    for name, module in (("student", trainer.student), ("teacher", trainer.teacher), ("objective", trainer.objective)):
        if module is not None:
            yield from ((f"{name}.{entry}", tensor) for entry, tensor in module.named_parameters())
            yield from ((f"{name}.{entry}", tensor) for entry, tensor in module.named_buffers())
    for name, parameter in trainer.student.named_parameters():
        for entry, value in trainer.optimiser.state[parameter].items():
            if isinstance(value, Tensor):
                yield f"optimiser.{entry}.{name}", value
