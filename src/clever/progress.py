"""The progress of a study and its remaining time, read from the files of its jobs without disturbing them."""

from __future__ import annotations

import csv
import math
import time
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clever.config import Study
from clever.errors import UserError
from clever.pretraining.recipe import RunRecipe
from clever.results.run_description import read_run


@dataclass(frozen=True)
class Started:
    """A run that has started but not ended."""

    run: str
    epochs_done: int
    epochs: int
    """Epochs of the whole run."""
    silent_seconds: float
    """Seconds since the run last wrote an epoch or its state."""


@dataclass(frozen=True)
class Progress:
    """The progress of a study."""

    study: str
    trained: int
    runs: int
    """Number of runs, including controls."""
    evaluated: int
    evaluations: int
    started: tuple[Started, ...]
    jobs_at_once: float | None
    """Mean number of simultaneous jobs while at least one was running; None before the first job has ended."""
    seconds_left: float | None
    """Estimated remaining time, from the jobs that have ended; None before the first job has ended, 0 when all have
    ended."""
    unknown: dict[str, int]
    """Number of jobs of each kind ("pretrain" or "evaluate") of which none has ended; ``seconds_left`` excludes
    them."""


@dataclass(frozen=True)
class _Job:
    kind: str
    recipe: RunRecipe
    size: int
    """Number of epochs of a run, or of protocols of an evaluation."""
    left: int
    """The part of ``size`` that remains."""
    benchmark: Path

    @property
    def likeness(self) -> Sequence[Hashable]:
        """Keys shared by jobs of similar cost, from the most to the least specific."""
        recipe = self.recipe
        # Control runs are not trained, so their time cannot be estimated from other runs.
        kind = (self.kind, self.kind == "pretrain" and recipe.method is None)
        where = (recipe.data, recipe.backbone_name)
        return (kind, *where, recipe.method_name), (kind, *where), (kind, recipe.backbone_name), kind

    def span(self) -> tuple[float, float] | None:
        """Start and end in seconds since 1970, from Snakemake's benchmark file; None if it has not written one."""
        try:
            row = next(csv.DictReader(self.benchmark.read_text(encoding="utf-8").splitlines(), delimiter="\t"))
            end = self.benchmark.stat().st_mtime
            return end - float(row["s"]), end
        except (OSError, ValueError, KeyError, StopIteration):
            return None


def survey(study: Study, results: Path, now: float | None = None) -> Progress:
    """Read the progress of a study.

    A remaining job is expected to take the mean time of the most similar finished jobs (per epoch of a run, per
    protocol of an evaluation), with as many jobs at once as so far.

    Args:
        study: the study, which defines the jobs.
        results: the study's folder of results, which need not exist.
        now: seconds since 1970; None reads the clock.
    """
    now = time.time() if now is None else now
    started: list[Started] = []
    jobs: list[_Job] = []
    protocols = study.evaluation_options()
    for run, recipe in study.recipes().items():
        epochs = recipe.optimisation.epochs if recipe.optimisation else 0
        trained = _is_described(results / "runs" / run / "run.json", recipe)
        begun = None if trained else _begun(run, results / "runs" / run / "state", epochs, now)
        if begun is not None:
            started.append(begun)
        size = max(epochs, 1)
        left = 0 if trained else size - (begun.epochs_done if begun is not None else 0)
        jobs.append(_Job("pretrain", recipe, size, left, results / "benchmarks" / "pretrain" / f"{run}.tsv"))
        if protocols:
            # An evaluation that is older than its run is repeated.
            files = [results / "evaluations" / run / f"{protocol}.json" for protocol in protocols]
            left = len(files) - sum(file.is_file() for file in files) if trained else len(files)
            jobs.append(_Job("evaluate", recipe, len(files), left, results / "benchmarks" / "evaluate" / f"{run}.tsv"))

    ended = [(job, span) for job in jobs if not job.left and (span := job.span()) is not None]
    waiting = [job for job in jobs if job.left]
    at_once = _mean_overlap([span for _, span in ended])
    work, unknown = _work(waiting, [(job, end - begin) for job, (begin, end) in ended])
    return Progress(
        study=study.study,
        trained=sum(job.kind == "pretrain" and not job.left for job in jobs),
        runs=sum(job.kind == "pretrain" for job in jobs),
        evaluated=sum(job.size - job.left for job in jobs if job.kind == "evaluate"),
        evaluations=sum(job.size for job in jobs if job.kind == "evaluate"),
        started=tuple(started),
        jobs_at_once=at_once,
        seconds_left=0.0 if not waiting else None if at_once is None else work / at_once,
        unknown=unknown,
    )


def shown(progress: Progress) -> str:
    """The progress as a few lines of text."""
    lines = [
        f"{progress.study}: {progress.trained} of {progress.runs} runs trained, "
        f"{progress.evaluated} of {progress.evaluations} evaluations done"
    ]
    lines += [
        f"{run.run}: {run.epochs_done} of {run.epochs} epochs, last written {_duration(run.silent_seconds)} ago"
        for run in progress.started
    ]
    if progress.jobs_at_once is None:
        lines.append("no job has ended yet: the remaining time is unknown")
    elif progress.seconds_left:
        lines.append(f"about {_duration(progress.seconds_left)} left at {progress.jobs_at_once:.1f} jobs at once")
    if progress.unknown and progress.jobs_at_once is not None:
        jobs = ", ".join(f"{count} {kind}" for kind, count in progress.unknown.items())
        lines.append(f"not counted, because none of their kind has ended yet: {jobs}")
    return "\n".join(lines)


def _is_described(path: Path, recipe: RunRecipe) -> bool:
    """Whether an undamaged run.json of this recipe exists."""
    try:
        return read_run(path)["recipe_digest"] == recipe.digest
    except UserError:
        return False


def _begun(run: str, state: Path, epochs: int, now: float) -> Started | None:
    """The progress of an unfinished run from its training state; None without one.

    Does not try to take its lock, because a trainer that starts at that moment would be rejected.
    """
    try:
        written = [entry.stat().st_mtime for entry in state.iterdir()]
    except OSError:
        return None
    if not written:
        return None
    try:
        with (state / "metrics.csv").open(encoding="utf-8", newline="") as file:
            done = sum((row.get("epoch") or "").isdigit() for row in csv.DictReader(file))
    except OSError:
        done = 0
    return Started(run, min(done, epochs), epochs, max(now - max(written), 0.0))


def _work(waiting: Iterable[_Job], ended: Iterable[tuple[_Job, float]]) -> tuple[float, dict[str, int]]:
    """Estimated seconds of the remaining jobs run one after another, and the number of jobs without an estimate by
    kind."""
    sizes: Counter[Hashable] = Counter()
    times: dict[Hashable, float] = {}
    for job, seconds in ended:
        for likeness in job.likeness:
            sizes[likeness] += job.size
            times[likeness] = times.get(likeness, 0.0) + seconds
    work = 0.0
    unknown: Counter[str] = Counter()
    for job in waiting:
        likeness = next((likeness for likeness in job.likeness if likeness in sizes), None)
        if likeness is None:
            unknown[job.kind] += 1
        else:
            work += job.left * times[likeness] / sizes[likeness]
    return work, dict(unknown)


def _mean_overlap(spans: Sequence[tuple[float, float]]) -> float | None:
    """Mean number of simultaneous intervals within their union, so that idle time between two sessions does not
    count."""
    covered, reached = 0.0, -math.inf
    for begin, end in sorted(spans):
        covered += max(end - max(begin, reached), 0.0)
        reached = max(reached, end)
    return sum(end - begin for begin, end in spans) / covered if covered > 0 else None


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
