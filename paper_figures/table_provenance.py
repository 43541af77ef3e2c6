"""The provenance of one table's numbers: code, data, runs, machines, versions, time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from clever.results.run_id import UNTRAINED

NOT_RECORDED = "not recorded"
Facts = tuple[tuple[str, str], ...]


def origin_facts(records: pd.DataFrame, runs: Sequence[Mapping[str, Any]]) -> Facts:
    """(name, value) in order, for the records that a table was made from.

    A value that differs between runs is listed with its number of runs. A run that is missing from ``runs`` is counted
    by its records, which give its commit and data; its other values count as not recorded.
    """
    known = {str(run["run"]): run for run in runs}
    rows = records.drop_duplicates("run").sort_values("run")
    trained = [str(run) for run in rows["run"][rows["method"] != UNTRAINED]]
    described = [known.get(str(run), {}) for run in rows["run"]]
    commits = [
        _code(known[str(run)]) if str(run) in known else f"{commit or NOT_RECORDED}, changes not known"
        for run, commit in zip(rows["run"], rows["commit"], strict=True)
    ]
    seeds = sorted({int(seed) for seed in rows["seed"][rows["method"] != UNTRAINED]})
    return (
        ("numbers", f"{len(records):,}"),
        ("runs", f"{len(trained)} trained, {len(rows) - len(trained)} controls"),
        ("seeds", ", ".join(map(str, seeds)) or "controls only"),
        ("commit", _counted(commits)),
        ("data checksum", _counted(str(total) or NOT_RECORDED for total in rows["data_checksum"])),
        ("hardware", _counted(flat(run.get("hardware")) or NOT_RECORDED for run in described)),
        ("versions", _counted(flat(run.get("versions")) or NOT_RECORDED for run in described)),
        ("training time", _training_time([known.get(run, {}) for run in trained])),
    )


def _code(run: Mapping[str, Any]) -> str:
    """Every commit that contributed to a run; commits with uncommitted changes are marked."""
    entries = run.get("trained_by") or [run]
    return " then ".join(dict.fromkeys(map(commit_text, entries)))


def commit_text(entry: Mapping[str, Any]) -> str:
    """A commit, and whether there were uncommitted changes."""
    commit = str(entry.get("git_commit") or NOT_RECORDED)
    return f"{commit}, with uncommitted changes" if entry.get("git_dirty") else commit


def _counted(values: Iterable[str]) -> str:
    counts = Counter(values)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{value} ({_runs(count)})" for value, count in sorted(counts.items()))


def _training_time(runs: Sequence[Mapping[str, Any]]) -> str:
    if not runs:
        return "nothing was trained"
    seconds = [run["wall_seconds"] for run in runs if isinstance(run.get("wall_seconds"), (int, float))]
    if not seconds:
        return NOT_RECORDED
    lacking = f"; of {len(runs) - len(seconds)} not recorded" if len(seconds) < len(runs) else ""
    return f"{duration(sum(seconds))} over {_runs(len(seconds))}{lacking}"


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"


def flat(value: object) -> str:
    """A small object as ``key value, key value``."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {flat(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, (list, tuple)):
        return " ".join(flat(item) for item in value)
    return "" if value is None else str(value)


def duration(seconds: object) -> str:
    """A duration in hours and minutes; empty if ``seconds`` is not a number."""
    if not isinstance(seconds, (int, float)):
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
