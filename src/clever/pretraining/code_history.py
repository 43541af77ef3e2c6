"""The code and machine that trained a run: one entry for the start, and one for each change on resuming."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from clever.errors import UserError
from clever.job_code import digest, training_code
from clever.pretraining.recipe import MethodOptions
from clever.provenance import source_commit

Entry = Mapping[str, Any]


def training_sources(method: MethodOptions | None) -> str:
    """Return a digest of the source files that train a run of this method (``clever.job_code.training_code``)."""
    names = (None, None) if method is None else (method.baseline.name, method.equivariance.name)
    return digest(training_code(*names))


def execution(device: torch.device, processes: int) -> dict[str, Any]:
    """Return the execution settings of this process that can change the last bits of a run.

    Returns:
        ``device`` (cpu, cuda), ``processes``, and ``threads`` of each process, which is None on a GPU because the
        result does not depend on it there.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else None
    return {"device": device.type, "threads": threads, "processes": processes}


def extended(
    history: Sequence[Entry], step: int, epoch: int, executed: Mapping[str, Any], method: MethodOptions | None
) -> list[Entry]:
    """Append an entry for this process to the history, unless the last entry is equal.

    An entry holds ``git_commit``, ``git_dirty``, ``sources`` (:func:`training_sources`), ``device``, ``threads`` and
    ``processes`` (:func:`execution`), ``from_step``, and ``from_epoch``, the epoch of that step; both count from 0.

    Args:
        history: the history in the state to resume; empty at the start of a run.
        step: the step from which this process trains.
        epoch: the epoch of that step.
        executed: the result of :func:`execution`.
        method: the run's method.
    """
    commit, dirty = source_commit()
    now = {"git_commit": commit, "git_dirty": dirty, "sources": training_sources(method), **executed}
    if history and all(history[-1].get(key) == value for key, value in now.items()):
        return list(history)
    return [*history, now | {"from_step": step, "from_epoch": epoch}]


def refuse_other_threads(history: Sequence[Entry], executed: Mapping[str, Any], where: object) -> None:
    """Refuse to resume a CPU run with a different number of threads if that would change its last bits.

    Raises:
        UserError: the last bits would change; the message names both numbers.
    """
    before = history[-1] if history else {}
    if before.get("device") != "cpu" or executed["device"] != "cpu":
        return
    # The command line counts the threads of all processes on a machine together.
    wanted = {"threads": f"--threads {before['threads'] * before['processes']}"}
    wanted["processes"] = f"torchrun --nproc-per-node {before['processes']}"
    for key, option in wanted.items():
        if before[key] != executed[key]:
            raise UserError(
                f"{where}: was trained with {key} = {before[key]}, this process has {key} = {executed[key]}: the last "
                f"bits of the result would differ; start again with {option}, or go on with --accept-other-threads, "
                "which run.json will list"
            )


def changed(before: Entry, now: Entry) -> str:
    """The differences between two consecutive entries, as text on one line."""
    parts = []
    if any(before.get(key) != now[key] for key in ("git_commit", "git_dirty", "sources")):
        parts.append(f"the code has changed ({described(before)}; now {described(now)})")
    parts += [
        f"{key} {before[key]} so far, {now[key]} from here on"
        for key in ("device", "threads", "processes")
        if key in before and before[key] != now[key]
    ]
    return ", ".join(parts)


def described(entry: Entry) -> str:
    """A short description of an entry."""
    changes = " with uncommitted changes" if entry["git_dirty"] else ""
    return f"commit {entry['git_commit'][:12]}{changes}, sources {entry['sources']}"
