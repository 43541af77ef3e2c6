"""The cost of a study: time, images, parameters, and an estimate of the energy with its assumption."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from table_provenance import duration

GPU_WATTS = {"H200": 700, "H100": 700, "A100": 400, "V100": 300, "A40": 300, "L40": 300, "A10": 150, "L4": 72, "T4": 70}
"""Rated board power by a part of the card's name, as the makers state it (SXM versions)."""
OTHER_GPU_WATTS = 300
CORE_WATTS = 10
"""Power per CPU core in use, with its share of the memory: server processors are rated at 5 to 10 W per core."""

Facts = tuple[tuple[str, str], ...]


def compute_facts(runs: Sequence[Mapping[str, Any]], parameters: Mapping[str, int]) -> Facts:
    """(name, value) in order, for the trained runs; empty if no run was described.

    Args:
        runs: from ``read_runs``.
        parameters: maps each backbone to its number of parameters.
    """
    trained = [run for run in runs if run.get("epochs")]
    if not trained:
        return ()
    timed = [run for run in trained if _seconds(run)]
    facts = [("trained runs", f"{len(trained)}")]
    if timed:
        lacking = f"; of {len(trained) - len(timed)} not recorded" if len(timed) < len(trained) else ""
        total = training_seconds(timed)
        text = f"{duration(total)} ({total / 3600:.2f} hours), evaluations not included{lacking}"
        facts.append(("training time", text))
    images = [count for run in trained if (count := _images(run))]
    if images:
        facts.append(("images trained on", f"{sum(images):,}, counted over all epochs; {_range(images)} per run"))
    if parameters:
        sizes = sorted(parameters.items(), key=lambda item: (item[1], item[0]))
        facts.append(("backbone parameters", ", ".join(f"{name} {count / 1e6:.2f} million" for name, count in sizes)))
    if timed:
        facts.append(("energy, estimated", _energy(timed)))
    return tuple(facts)


def training_seconds(runs: Sequence[Mapping[str, Any]]) -> float:
    """Training time summed over runs, in seconds; a run without a time counts as 0."""
    return sum(map(_seconds, runs))


def energy(runs: Sequence[Mapping[str, Any]]) -> float:
    """Estimated energy of training, in kWh, from the rated power of what each run used."""
    return sum(_watts(run.get("hardware") or {})[0] * _seconds(run) for run in runs) / 3.6e6


def _energy(runs: Sequence[Mapping[str, Any]]) -> str:
    assumed: dict[str, float] = defaultdict(float)
    for run in runs:
        _, how = _watts(run.get("hardware") or {})
        assumed[how] += _seconds(run)
    how = "; ".join(f"{text} for {seconds / 3600:.2f} hours" for text, seconds in sorted(assumed.items()))
    return f"{energy(runs):.3g} kWh of training. Not measured: it assumes {how}, at full load, without cooling."


def _watts(hardware: Mapping[str, Any]) -> tuple[float, str]:
    """Power of the part of the machine that a run used, and the assumption in words."""
    if hardware.get("device") == "cuda":
        name, count = str(hardware.get("gpu", "a GPU")), int(hardware.get("processes") or 1)
        rated = next((watts for part, watts in GPU_WATTS.items() if part in name), OTHER_GPU_WATTS)
        return float(rated * count), f"{rated} W per GPU ({name}, rated power) × {count}"
    # A process computes with as many cores as it has threads.
    cores = int(hardware.get("threads") or hardware.get("cores") or 1) * int(hardware.get("processes") or 1)
    return float(CORE_WATTS * cores), f"{CORE_WATTS} W per CPU core × {cores}"


def _seconds(run: Mapping[str, Any]) -> float:
    seconds = run.get("wall_seconds")
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def _images(run: Mapping[str, Any]) -> int:
    """Images that a run trained on, over all epochs; whole batches only."""
    batch = ((run.get("recipe") or {}).get("optimisation") or {}).get("batch_size")
    return int(run.get("iterations") or 0) * int(batch or 0)


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
