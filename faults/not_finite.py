"""A NaN in the loss and an infinite gradient, in runs configured to stop and in runs configured to continue."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from clever.pretraining.nonfinite_guard import SKIPPED_IN_A_ROW
from faults.bench import EPOCHS, STEPS, TOTAL, Bench, make_recipe, metrics, newest, states
from faults.row import Row, expect

_PARAMETER = "backbone.network.conv1.0.weight"
_FAULTS = {
    "NaN in a loss term": "loss_orthogonality is nan",
    "an infinite gradient": f"the gradient of {_PARAMETER} is not finite",
}


def rows(bench: Bench, tries: int | None) -> list[Row]:
    """Both faults, with both settings; then one in every step."""
    stop = "stops; names the term or parameter and the step; the last good state is kept and resumes to the same bits"
    skip = "the step is skipped, named and counted in metrics.csv; the weights stay finite"
    found = []
    for fault, text in _FAULTS.items():
        numbers = range(tries or 3)
        found.append(Row(7, f"{fault}, `non_finite: stop`", stop, [partial(_stops, bench, text, n) for n in numbers]))
        found.append(Row(7, f"{fault}, `non_finite: skip`", skip, [partial(_skips, bench, text, n) for n in numbers]))
    forward = Row(
        7,
        "a batch of NaN at the start, at the end of an epoch, and at the end of the run, `non_finite: skip`",
        f"{skip}, BatchNorm's statistics and DINO's centre too",
        [partial(_bad_batch, bench, step) for step in (0, STEPS - 1, TOTAL - 1)][:tries],
    )
    endless = Row(
        7,
        "NaN in every step, `non_finite: skip`",
        f"stops after {SKIPPED_IN_A_ROW} in a row, or at the end of an epoch without a good step",
        [partial(_endless, bench)],
    )
    return [*found, forward, endless]


def _poison(text: str, steps: set[int]) -> None:
    """Make the gradients or the losses of these steps non-finite, as a bad batch or an overflow would."""
    from clever.pretraining.trainer import Trainer

    original = Trainer.compute_gradients

    def poisoned(self: Trainer, batch: Any, iteration: int) -> dict[str, torch.Tensor]:
        values = original(self, batch, iteration)
        if iteration in steps and text.startswith("loss_"):
            name = text.split(" ")[0]
            values[name] = values[name] * float("nan")
            for parameter in self.student.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(float("nan"))
        elif iteration in steps:
            gradient = dict(self.student.named_parameters())[_PARAMETER].grad
            assert gradient is not None
            gradient[(0,) * gradient.ndim] = float("inf")
        return values

    Trainer.compute_gradients = poisoned  # type: ignore[method-assign]


def _stops(bench: Bench, text: str, seed: int, folder: Path) -> str:
    step = random.Random(f"{text}/{seed}").randrange(STEPS, TOTAL)
    output = folder / "run"
    kept = step // STEPS * STEPS
    job = bench.pretrain(output, prepare=partial(_poison, text, {step}))
    said = job.must_refuse(f"{text} at step {step}", f"the state of step {kept} is kept")
    expect(newest(output) == kept, f"the newest state is of step {newest(output)}")
    bench.must_go_on(output, kept)
    return said


def _skips(bench: Bench, text: str, seed: int, folder: Path) -> str:
    steps = set(random.Random(f"{text}/{seed}").sample(range(TOTAL), 2))
    output = folder / "run"
    recipe = make_recipe({"non_finite": "skip"})
    job = bench.pretrain(output, recipe, prepare=partial(_poison, text, steps))
    said = job.must_end(0, *(f"{text} at step {step}; the step is skipped" for step in sorted(steps)))
    counted = [int(row["skipped_steps"]) for row in metrics(output)]
    wanted = [sum(step // STEPS == epoch for step in steps) for epoch in range(EPOCHS)]
    expect(counted == wanted, f"metrics.csv counts {counted}, not {wanted}")
    weights = load_file(output / "backbone.safetensors").values()
    expect(all(value.isfinite().all() for value in weights), "the weights are not finite")
    return said


def _bad_batch(bench: Bench, step: int, folder: Path) -> str:
    def poison() -> None:
        from clever.pretraining.trainer import Trainer

        original = Trainer.make_views

        def poisoned(self: Trainer, batch: Any, iteration: int) -> Any:
            views = original(self, batch, iteration)
            bad = float("nan") if iteration == step else 1.0
            return [replace(view, images=view.images * bad) for view in views]

        Trainer.make_views = poisoned  # type: ignore[method-assign]

    output = folder / "run"
    recipe = make_recipe({"non_finite": "skip"})
    job = bench.pretrain(output, recipe, prepare=poison, keep_state=True)
    said = job.must_end(0, f"loss_contrast is nan, loss_orthogonality is nan at step {step}; the step is skipped")
    expect(sum(int(row["skipped_steps"]) for row in metrics(output)) == 1, "metrics.csv does not count one")
    trained = torch.load(states(output)[0], weights_only=True)["payload"]["trainer"]
    for part in ("student", "teacher", "objective"):
        broken = [name for name, value in trained[part].items() if not value.isfinite().all()]
        expect(not broken, f"not finite in {part}: {broken}")
    return said


def _endless(bench: Bench, folder: Path) -> str:
    output = folder / "run"
    text = _FAULTS["NaN in a loss term"]
    recipe = make_recipe({"non_finite": "skip", "batch_size": 4})  # 16 steps per epoch
    job = bench.pretrain(output, recipe, prepare=partial(_poison, text, set(range(3, 1000))))
    said = job.must_refuse(f"{text} at step {3 + SKIPPED_IN_A_ROW}, after {SKIPPED_IN_A_ROW} steps in a row")
    recipe = make_recipe({"non_finite": "skip"})
    job = bench.pretrain(folder / "short", recipe, prepare=partial(_poison, text, set(range(1000))))
    job.must_refuse("every step of epoch 1 was skipped")
    return said
