"""The training loop of one run, from its recipe to its backbone."""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import time
import uuid
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from clever import __version__
from clever.backbones import Backbone
from clever.collectives import (
    any_process,
    gather_rows,
    is_main_process,
    process_count,
    process_rank,
)
from clever.data import Batches, Store
from clever.data.verification import file_sha256
from clever.equivariance.predictor import PREDICTOR_FILE, Predictor, find_predictor
from clever.errors import UserError
from clever.execution.ancestry import Ancestor, ancestors
from clever.execution.processes import joined_processes
from clever.files import write_bytes
from clever.loggers import LoggedRun, open_loggers
from clever.pretraining.code_history import Entry, changed, described, extended, refuse_other_threads
from clever.pretraining.code_history import execution as how_executed
from clever.pretraining.composition import initial_backbone
from clever.pretraining.diagnostics import assess
from clever.pretraining.epoch_metrics import EpochTotals
from clever.pretraining.interruption import Interrupted, Interruption, watch_signals
from clever.pretraining.malloc import keep_freed_memory
from clever.pretraining.metrics import MetricsFile
from clever.pretraining.momentum_teacher import unmoved_teacher
from clever.pretraining.nonfinite_guard import Checked, NotFiniteError
from clever.pretraining.online_probe import OnlineProbe
from clever.pretraining.options import ExecutionOptions
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.stages import make_stage
from clever.pretraining.state import METRICS, StateFolder
from clever.pretraining.trainer import Trainer
from clever.provenance import hardware, package_versions, source_commit
from clever.results.run_description import HEALTHY, SEALED_FORMAT, RunDescription, TrainingSummary, write_run
from clever.run_report import RunReport


def pretrain(recipe: RunRecipe, store: Store, folder: Path, execution: ExecutionOptions) -> None:
    """Train one run, or resume it from its state, and write its three files.

    ``backbone.safetensors``: the teacher's backbone (the student's if there is no teacher), from the last epoch.
    ``metrics.csv``: one line per epoch. ``run.json``: recipe, provenance, cost and health; written last, it marks a
    finished run. The training state is in ``state/`` below the same folder; it is deleted when the
    run has succeeded, or by its first evaluation if the workflow may start the run again.
    An add-on that predicts transformed images (SIE) adds ``predictor.safetensors``, whose SHA-256 is in run.json.

    Under torchrun several processes train the run together; the first of them holds the lock, writes and prints.

    Args:
        recipe: the run; a control run (without a method) is written as initialised.
        store: its prepared data.
        folder: the folder for the files.
        execution: how to run it; none of it changes the result on one machine with one number of threads.

    Raises:
        UserError: another trainer holds the run, a state does not belong to it, a loss is not finite, or the disk is
            full.
        Interrupted: SIGTERM, SIGUSR1 or Ctrl-C was received; the state is saved.
    """
    if execution.threads:
        torch.set_num_threads(execution.threads)
    with joined_processes(execution.device) as device, watch_signals() as interruption:
        if device.type == "cpu":
            keep_freed_memory()
        identity = {"run": recipe.run, "recipe": recipe.digest, "data": store.checksum[:16], "version": __version__}
        states = StateFolder(folder / "state", identity, recipe.model_dump(mode="json"))
        begun_by = ancestors()
        with states.locked() if is_main_process() else nullcontext():
            store.verify(remember=True)
            metrics = MetricsFile(states.folder / METRICS)
            if recipe.method is None:
                (backbone, loaded), predictor = initial_backbone(recipe), None
                summary = _UNTRAINED.copy()
                if loaded is not None:
                    summary["initial_weights"] = asdict(loaded)
            else:
                backbone, predictor, summary = _train(recipe, store, execution, device, states, metrics, interruption)
            if not is_main_process():
                return
            if recipe.method is None:
                metrics.start(["epoch", "iteration"])
            backbone.save(folder / "backbone.safetensors")
            summary["backbone_sha256"] = file_sha256(folder / "backbone.safetensors")
            summary["predictor_sha256"] = None if predictor is None else predictor.save(folder / PREDICTOR_FILE)
            content = metrics.path.read_bytes()
            summary["metrics_sha256"] = hashlib.sha256(content).hexdigest()
            write_bytes(folder / "metrics.csv", content)
            write_run(folder / "run.json", _describe_run(recipe, store, device, backbone, summary))
            states.close_to_others()
            if execution.keep_state:
                states.keep()
            elif reason := _may_be_started_again(states, begun_by):
                # A workflow that is started again may delete the three files, because it has no record that they are
                # complete. The state restores them at once; the first evaluation deletes it.
                if recipe.method is not None:
                    RunReport(recipe.run).state_kept(reason)
            else:
                states.clear()
                metrics.path.unlink()


def _train(
    recipe: RunRecipe,
    store: Store,
    execution: ExecutionOptions,
    device: torch.device,
    states: StateFolder,
    metrics: MetricsFile,
    interruption: Interruption,
) -> tuple[Backbone, Predictor | None, TrainingSummary]:
    options = recipe.optimisation
    assert options is not None
    report = RunReport(recipe.run)
    assert recipe.augmentation is not None
    with warnings.catch_warnings(record=True) as damaged:
        warnings.simplefilter("always")
        saved = states.load(device)
    stage = None
    if recipe.stage is not None:
        known = None if saved is None else saved[1]["stage"]["labels"]
        stage = make_stage(recipe.stage, store, device, execution.workers, known)
        if saved is not None and saved[1]["stage"]["runs"] != stage.runs:
            raise UserError(
                f"{states.folder}: the run began after other runs than {', '.join(recipe.stage.after)} hold now; "
                "restore them, or move the folder away to start again"
            )
    batches = Batches(
        store.split("train"),
        options.batch_size,
        seed=recipe.seed,
        device=device,
        placement=execution.placement,
        workers=execution.workers,
        rank=process_rank(),
        world_size=process_count(),
        pairs=recipe.augmentation.pairs,
        groups=None if stage is None else stage.labels,
    )
    steps = len(batches)
    trainer = Trainer(recipe, store.mean, store.std, steps, device, execution.compile, len(store.split("train")))
    loaded = None if trainer.initial_weights is None else asdict(trainer.initial_weights)
    probe = _online_probe(trainer, store, execution.workers)
    totals = EpochTotals()
    iteration, seconds_before, health = 0, 0.0, HEALTHY
    executed = how_executed(device, process_count())
    trained_by = extended([], 0, 0, executed, recipe.method)
    for warning in damaged:
        report.warning(warning.message)
    if saved is not None:
        iteration, payload = saved
        if not execution.accept_other_threads:
            refuse_other_threads(payload["trained_by"], executed, states.folder)
        trained_by = extended(payload["trained_by"], iteration, iteration // steps, executed, recipe.method)
        if loaded is not None and payload["initial_weights"]["sha256"] != loaded["sha256"]:
            raise UserError(
                f"{states.folder}: the run began with other weights than {recipe.backbone.init} holds now; restore "
                "them, or move the folder away to start again"
            )
        _restore(trainer, payload["trainer"], states, trained_by)
        totals.load_state_dict(payload["totals"])
        if probe is not None:
            probe.load_state_dict(payload["online_probe"])
        seconds_before, health = payload["seconds"], payload["health"]
        report.resumes(iteration, trainer.total_steps)
        if len(trained_by) > len(payload["trained_by"]):
            report.code_changed(changed(*trained_by[-2:]))
    elif states.newest_iteration() is not None:
        report.no_intact_state(states.folder)
    if saved is None and trainer.initial_weights is not None:
        report.initial_weights(trainer.initial_weights)
    if len(set(gather_rows(torch.tensor([iteration], device=device)).tolist())) > 1:
        raise UserError(f"{states.folder}: the processes found different training states; give all the same folder")
    if is_main_process():
        kept = None if saved is None else saved[1].get("metrics")
        if kept is None:  # a new run, or a state of an earlier version
            metrics.keep_epochs(iteration // steps)
        elif metrics.restore(kept):
            report.metrics_restored(metrics.path)
    if options.precision == "bf16" and device.type == "cpu":
        report.bf16_on_cpu()
    assert recipe.method is not None
    unmoved = unmoved_teacher(recipe.method, trainer.total_steps)
    if unmoved is not None:
        report.warning(unmoved)
    report.starts(options.epochs, steps, f"{batches.placement} ({batches.reason})", device)

    logged_as = uuid.uuid4().hex if saved is None else saved[1].get("logged_as", uuid.uuid4().hex)
    logged = LoggedRun(
        id=logged_as,
        name=recipe.run,
        folder=states.folder.parent,
        recipe=recipe.model_dump(mode="json"),
        first_epoch=iteration // steps,
        warn=report.warning,
    )
    log_to = execution.log_to if is_main_process() else []

    started = last_saved = time.monotonic()
    with open_loggers(log_to, logged) as loggers, report.bar(trainer.total_steps, iteration) as bar:
        for epoch in range(iteration // steps, options.epochs):
            trainer.objective.start_epoch(epoch)
            epoch_started, first = time.monotonic(), iteration
            for batch in batches.epoch(epoch, start=iteration - epoch * steps):
                trainer.step(batch, iteration)
                iteration += 1
                epoch_ends = iteration == (epoch + 1) * steps
                stop = interruption.requested is not None
                save_due = time.monotonic() - last_saved > execution.state_every_seconds
                # A single process reacts to signals and the clock at once; several processes agree at the next check.
                due = process_count() == 1 and (stop or save_due)
                if not (epoch_ends or due or iteration % execution.log_every == 0):
                    continue

                # The only place where the loop waits for the device; nothing is saved until this check has passed.
                stop, save_due = any_process([stop, save_due], device)
                rows, faults = _check(trainer, iteration - 1, states)
                totals.add(rows, skipped=len(faults))
                for fault in faults:
                    report.skipped(fault)
                rate = (iteration - first) * options.batch_size / (time.monotonic() - epoch_started)
                report.progress(bar, iteration, totals.means(), rate)
                if epoch_ends:
                    if not totals.count:
                        raise UserError(f"{recipe.run}: every step of epoch {epoch + 1} was skipped, see above")
                    row = totals.means() | trainer.diagnose()
                    health = assess(row, unmoved if iteration == trainer.total_steps else None)
                    schedule = {k: v for k, v in trainer.schedule(iteration - 1)._asdict().items() if v is not None}
                    row |= schedule | {"images_per_second": rate}
                    if options.non_finite == "skip":
                        row["skipped_steps"] = totals.skipped
                    probed: dict[str, float] = {}
                    if probe is not None and probe.is_due(epoch, options.epochs):
                        probed = probe.measure(trainer.trained_backbone(), epoch)
                    if is_main_process():
                        # Every line has the probe's columns, because the first line fixes them.
                        columns = {} if probe is None else dict.fromkeys(probe.columns) | probed
                        metrics.append({"epoch": epoch, "iteration": iteration, **row, **columns, "health": health})
                        loggers.log(epoch, row | probed)
                    left = (trainer.total_steps - iteration) * options.batch_size / rate
                    report.epoch(epoch, options.epochs, row | probed, health, left)
                    totals = EpochTotals()
                rested = time.monotonic() - last_saved >= execution.state_gap_seconds
                if (epoch_ends and (rested or iteration == trainer.total_steps)) or save_due or stop:
                    seconds = seconds_before + time.monotonic() - started
                    state: dict[str, Any] = {"trainer": trainer.state_dict(), "totals": totals.state_dict()}
                    if loaded is not None:
                        state["initial_weights"] = loaded
                    if stage is not None:
                        state["stage"] = {"labels": stage.labels, "runs": stage.runs}
                    if probe is not None:
                        state["online_probe"] = probe.state_dict()
                    if is_main_process():
                        state |= {"trained_by": trained_by, "seconds": seconds, "health": health}
                        state["logged_as"] = logged_as
                        state["metrics"] = metrics.text()
                        states.save(iteration, state)
                    last_saved = time.monotonic()
                if stop and iteration < trainer.total_steps:
                    signal = interruption.requested or "another process was stopped"
                    text = f"{recipe.run}: {signal} at step {iteration}; the state is saved"
                    raise Interrupted(text, interruption.by_hand)

    seconds = seconds_before + time.monotonic() - started
    split = trainer.objective.split
    summary: TrainingSummary = {
        "ir_dim": None if split is None else split.ir_dim,
        "epochs": options.epochs,
        "iterations": iteration,
        "wall_seconds": round(seconds, 3),
        "images_per_second": round(iteration * options.batch_size / seconds, 3) if seconds else None,
        "peak_memory_bytes": _peak_memory(device),
        "health": health,
        "trained_by": trained_by,
    }
    if loaded is not None:
        summary["initial_weights"] = loaded
    if stage is not None:
        summary["stage"] = stage.described()
    return trainer.trained_backbone(), find_predictor(trainer.student.layers), summary


def _online_probe(trainer: Trainer, store: Store, workers: int) -> OnlineProbe | None:
    recipe = trainer.recipe
    if recipe.online_probe is None:
        return None
    return OnlineProbe(
        recipe.online_probe,
        store,
        trainer.parts,
        trainer.student.backbone.feature_dim,
        recipe.backbone.image_size,
        trainer.device,
        bf16=trainer.options.precision == "bf16",
        workers=workers,
    )


_UNTRAINED: TrainingSummary = {
    "ir_dim": None,
    "epochs": 0,
    "iterations": 0,
    "wall_seconds": 0.0,
    "images_per_second": None,
    "peak_memory_bytes": None,
    "health": HEALTHY,
    "trained_by": [],
}


def _may_be_started_again(states: StateFolder, begun_by: Sequence[Ancestor]) -> str | None:
    """The reason why the workflow that requested this run may start it again, or None if it waits for this process."""
    if states.has_refused():
        return "another trainer was rejected meanwhile"
    if ancestors() != begun_by:
        return "the process that started this run ended before it"
    if "SLURM_JOB_ID" in os.environ:
        return "it is unknown whether the workflow outside this Slurm job is still running"
    return None


def _restore(trainer: Trainer, state: dict[str, Any], states: StateFolder, trained_by: Sequence[Entry]) -> None:
    try:
        trainer.load_state_dict(state)
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{states.folder}: the state does not fit this program ({' '.join(str(error).split())[:200]}); it was "
            f"trained by {' and '.join(described(entry) for entry in trained_by[:-1])}, this is "
            f"{described(trained_by[-1])}; move the folder away to start again"
        ) from error


def _check(trainer: Trainer, last_iteration: int, states: StateFolder) -> Checked:
    try:
        return trainer.guard.check(last_iteration)
    except NotFiniteError as error:
        good = states.newest_iteration()
        kept = "no state had been saved" if good is None else f"the state of step {good} is kept"
        raise UserError(
            f"{trainer.recipe.run}: {error}; {kept}. Lower optimisation.learning_rate, lengthen its warm-up or use fp32"
        ) from error


def _describe_run(
    recipe: RunRecipe, store: Store, device: torch.device, backbone: Backbone, summary: TrainingSummary
) -> RunDescription:
    commit, dirty = source_commit()
    return {
        "format": SEALED_FORMAT,
        "run": recipe.run,
        "recipe": recipe.model_dump(mode="json"),
        "recipe_digest": recipe.digest,
        "feature_dim": backbone.feature_dim,
        "git_commit": commit,
        "git_dirty": dirty,
        "versions": package_versions(),
        "hardware": hardware(device) | {"processes": process_count()},
        "data_checksum": store.checksum,
        "images": {"size": store.info["image_size"], "mean": list(store.mean), "std": list(store.std)},
        **summary,
    }


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
