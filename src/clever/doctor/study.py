"""Check a study against this machine: data, disk, memory, folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Hashable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import torch

from clever.config import Study
from clever.crosschecks.data_needs import measured_on
from clever.crosschecks.missing_data import lacking
from clever.crosschecks.prepared import same_options, store_faults
from clever.crosschecks.steps import step_warnings
from clever.crosschecks.teachers import teacher_warnings
from clever.crosschecks.training_images import training_images
from clever.data import Store
from clever.data.store import DESCRIPTION
from clever.doctor.evaluations import check_evaluations
from clever.doctor.finding import Finding, gigabytes
from clever.doctor.machine import existing, usable_cores
from clever.doctor.needs import Need, activation_bytes, run_need
from clever.doctor.stores import store_bytes
from clever.errors import UserError
from clever.evaluation.options.protocol import ProtocolOptions
from clever.files import expanded
from clever.invocation import DATA_ROOT
from clever.memory import machine_memory
from clever.pretraining.momentum_teacher import LARGEST_SHARE
from clever.pretraining.recipe import RunRecipe

_Counted = TypeVar("_Counted")

STATES = 3
"""Number of training states on disk while a run saves one: the two that it keeps and the one being written."""

RESULT_BYTES = 2**20
"""Bytes allowed for the records, curves, logs and figures of one run; each is a text file of kilobytes."""

PROGRAM_BYTES = 500_000_000
"""Bytes of a process before it does any work: torch and its libraries, or CUDA's context on a GPU."""

MARGIN = 1.2
"""Ratio of free to needed disk space below which the doctor warns."""


def check_study(study: Study, verify: bool, data_root: str = DATA_ROOT) -> Iterator[Finding]:
    """Check data sets, then the protocols' needs, then disk, then memory. ``verify`` reads prepared stores in full."""
    results = Path("results") / study.study
    for name in _data_sets(study):
        yield check_data(study, name, results, verify, data_root)
    yield from check_evaluations(study, data_root)
    yield from check_lengths(study, results, data_root)
    yield from check_teachers(study, results, data_root)
    images = {name: training_images(study, name, results / "data", data_root) for name in _data_sets(study)}
    needs = _of_every_run(study, lambda recipe: run_need(recipe, images[recipe.data]), _weights)
    yield check_disk(study, needs, results, data_root)
    yield check_memory(needs, _of_every_run(study, activation_bytes, _views))


def _data_sets(study: Study) -> list[str]:
    """The data sets that runs are trained or evaluated on."""
    return sorted({*study.evaluation_data(), *(recipe.data for recipe in study.recipes().values())})


def _evaluating(study: Study, name: str) -> list[ProtocolOptions]:
    """The options of the evaluations that measure on a data set."""
    return [options for key, options in study.evaluation_options().items() if name in measured_on(study, key)]


def check_data(study: Study, name: str, results: Path, verify: bool, data_root: str = DATA_ROOT) -> Finding:
    """Check that a data set is prepared, or that its source exists."""
    subject, folder, options = f"data {name}", results / "data" / name, study.data_options(name, data_root)
    if (folder / DESCRIPTION).exists():
        try:
            store = Store.open(folder)
            if verify:
                store.verify()
        except UserError as error:
            return Finding(subject, "FAIL", f"{error}; delete {folder} to have it prepared again")
        return _compare_store(study, name, folder, store, verify)
    if options.root is None:
        return Finding(subject, "ok", f"source {options.source} needs no files")
    root = expanded(options.root)
    if root.is_dir():
        if not os.access(root, os.R_OK | os.X_OK):
            return Finding(subject, "FAIL", f"{root} is not readable; get read permission")
        line = None if options.download else lacking(options.source, root)
        if line is not None:
            return Finding(subject, "FAIL", line)
        return Finding(subject, "ok", f"found {root}, not prepared yet")
    if options.download:
        return Finding(subject, "ok", f"{root} does not exist yet; it will be downloaded")
    return Finding(
        subject, "FAIL", f"there is no folder {root}; give its parent with --data-root FOLDER, or get the data"
    )


def check_lengths(study: Study, results: Path, data_root: str = DATA_ROOT) -> Iterator[Finding]:
    """Warn about runs with too few steps; no finding for a study without such runs."""
    for line in dict.fromkeys(step_warnings(study, results / "data", data_root)):
        yield Finding("steps", "warning", line)


def check_teachers(study: Study, results: Path, data_root: str = DATA_ROOT) -> Iterator[Finding]:
    """Check that momentum teachers leave their initialisation. No finding for a study without such teachers."""
    lines = list(dict.fromkeys(teacher_warnings(study, results / "data", data_root)))
    for line in lines:
        yield Finding("teacher", "warning", line)
    methods = [method for block in study.blocks() for method in block.methods.values()]
    if not lines and any(method.baseline.has_momentum_teacher for method in methods):
        uncounted = [
            name
            for name in sorted({block.data for block in study.pretrainings})
            if training_images(study, name, results / "data", data_root) is None
        ]
        unknown = f", except where {', '.join(uncounted)} is not prepared yet" if uncounted else ""
        text = f"less than {LARGEST_SHARE:.0%} of every momentum teacher is its initialisation at the end{unknown}"
        yield Finding("teacher", "ok", text)


def _compare_store(study: Study, name: str, folder: Path, store: Store, verified: bool) -> Finding:
    """Compare the study with a prepared store (options, counts, classes), and report the cost of padding a batch."""
    subject = f"data {name}"
    if not same_options(store.info, study.data[name]):
        text = f"{folder} was prepared with options other than the study's; it will be prepared again"
        return Finding(subject, "warning", text)
    faults = list(store_faults(study, name, store.info))
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        return Finding(subject, "FAIL", f"{faults[0]}{more}")
    how = "every byte verified" if verified else "all files have their full length; --verify reads them"
    padded = ""
    if store.info["layout"] == "encoded":
        height, width = store.info["splits"]["train"]["largest"]
        batches = [block.optimisation.batch_size for block in study.blocks() if block.data == name]
        batch = max(batches or [getattr(options, "extraction_batch", 1) for options in _evaluating(study, name)])
        size = gigabytes(3 * batch * height * width)
        padded = f", a batch of {batch} padded to at most {height} x {width} pixels ({size})"
    return Finding(subject, "ok", f"prepared in {folder}, checksum {store.checksum[:12]}, {how}{padded}")


def check_disk(study: Study, needs: Mapping[str, Need], results: Path, data_root: str = DATA_ROOT) -> Finding:
    """Compare free disk space with what the study will still write: stores, backbones, training states, results."""
    open_runs = [run for run in study.recipes() if not (results / "runs" / run / "run.json").exists()]
    unprepared = {
        name: store_bytes(study.data_options(name, data_root))
        for name in _data_sets(study)
        if not (results / "data" / name / DESCRIPTION).exists()
    }
    stores = sum(size or 0 for size in unprepared.values())
    backbones = sum(needs[run].backbone for run in open_runs)
    at_work = sorted((needs[run].state for run in open_runs), reverse=True)[: _jobs()]
    states = STATES * sum(at_work)
    total = stores + backbones + states + RESULT_BYTES * len(open_runs)
    present = existing(results)
    free = shutil.disk_usage(present).free
    unknown = [name for name, size in unprepared.items() if size is None]
    text = (
        f"{gigabytes(free)} free in {present}, about {gigabytes(total)} needed: stores {gigabytes(stores)}"
        + (f" (without {', '.join(unknown)}, of unknown size until prepared)" if unknown else "")
        + f", backbones of {len(open_runs)} runs {gigabytes(backbones)}, states of {len(at_work)} at a time "
        f"{gigabytes(states)}"
    )
    if free < total:
        return Finding("disk", "FAIL", f"{text}; make room, or work in another folder")
    if free < MARGIN * total:
        return Finding("disk", "warning", f"{text}: little would be left")
    return Finding("disk", "ok", text)


def check_memory(needs: Mapping[str, Need], activations: Mapping[str, int | None]) -> Finding:
    """Compare the largest run's need with the memory of a GPU or the machine. Because activations are only estimated,
    they give at most a warning."""
    memory = {run: PROGRAM_BYTES + need.fixed + (activations[run] or 0) for run, need in needs.items()}
    run = max(memory, key=lambda name: memory[name])
    needed, fixed = memory[run], needs[run].fixed
    jobs, place, free, total = 1, "machine", *machine_memory()
    if torch.cuda.is_available():
        place, (free, total) = "GPU", torch.cuda.mem_get_info(0)
    else:
        jobs = min(_jobs(), len(needs))
    uncounted = "" if activations[run] is not None else " and its activations, which cannot be counted here"
    text = (
        f"{gigabytes(free)} of {gigabytes(total)} free on the {place}; the largest run, {run}, needs roughly "
        f"{gigabytes(needed)}{uncounted} (weights, gradients, moments and teacher {gigabytes(fixed)})"
    )
    if fixed > total:
        return Finding("memory", "FAIL", f"{text}: this fixed part alone does not fit; use a smaller head or backbone")
    if needed > free:
        return Finding("memory", "warning", f"{text}: it may not fit; raise optimisation.accumulate or use bf16")
    if jobs * needed > free:
        at_once = max(int(free // needed), 1)
        return Finding("memory", "warning", f"{text}: {jobs} at a time may not fit; use snakemake --cores {at_once}")
    return Finding("memory", "ok", text)


def _jobs() -> int:
    """Runs that train at the same time: one per GPU, or one per core."""
    return torch.cuda.device_count() if torch.cuda.is_available() else usable_cores()


def _of_every_run(
    study: Study, count: Callable[[RunRecipe], _Counted], key: Callable[[RunRecipe], Hashable]
) -> dict[str, _Counted]:
    """Apply ``count`` to every run, once for all runs with the same ``key``."""
    known: dict[Hashable, _Counted] = {}
    found = {}
    for run, recipe in study.recipes().items():
        if key(recipe) not in known:
            known[key(recipe)] = count(recipe)
        found[run] = known[key(recipe)]
    return found


def _weights(recipe: RunRecipe) -> Hashable:
    """Everything that the sizes of a run's networks and moments depend on."""
    views, options = recipe.augmentation, recipe.optimisation
    return (
        recipe.data,  # some baselines keep state for every training image
        recipe.backbone.canonical(),
        recipe.method and recipe.method.canonical(),
        views and views.canonical(),
        options and options.optimiser,
    )


def _views(recipe: RunRecipe) -> Hashable:
    """Everything that the activations of a step depend on."""
    views, options = recipe.augmentation, recipe.optimisation
    return (
        recipe.backbone.canonical(),
        recipe.method and recipe.method.canonical(),
        views and (views.global_size, getattr(views, "local_size", None), views.local_views),
        options and (options.batch_size, options.accumulate, options.precision),
    )
