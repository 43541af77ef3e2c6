"""Profile the time of a step, kernel by kernel."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity
from torch.profiler import profile as torch_profile

_STEPS = 3
_LINES = 25


@dataclass(frozen=True)
class Profile:
    """The result of a profile."""

    rows: list[dict[str, Any]]
    top: str
    """The kernel (on a CPU: the operator) that takes the most time, with its share."""
    table: str
    """The first kernels and operators, as text."""


def profile(step: Callable[[], object], device: torch.device, images: int) -> Profile:
    """Profile three steps, after one warm-up step."""
    step()
    started = _now(device)
    for _ in range(_STEPS):
        step()
    plain = (_now(device) - started) / _STEPS
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with torch_profile(activities=activities) as watched:
        started = _now(device)
        for _ in range(_STEPS):
            step()
        watching = (_now(device) - started) / _STEPS
    averages = watched.key_averages()
    own_time = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    kernels, operators = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for event in averages:
        if getattr(event, "is_user_annotation", False) or event.key.startswith(("Optimizer.", "ProfilerStep")):
            continue  # a range around kernels that are listed separately
        seconds = getattr(event, own_time) / 1e6 / _STEPS
        if event.device_type.name == "CUDA":
            kernels[event.key] = [seconds, event.count / _STEPS]
        elif seconds > 0:
            operators[event.key] = [seconds, event.count / _STEPS]
    listed = kernels or operators
    total = sum(seconds for seconds, _ in listed.values())
    name, (most, _) = max(listed.items(), key=lambda item: item[1][0])
    rows = [_row("seconds of a step outside the profiler", plain, "s", f"{images} images")]
    if kernels:
        rows += [
            _row("kernel seconds a step", total, "s", f"{sum(count for _, count in kernels.values()):.0f} launches"),
            _row("share of time with a kernel running", min(total / plain, 1.0), "of the step", "profiled kernels"),
        ]
    parts = [f"step {plain:.4f} s without and {watching:.4f} s with the profiler, {images} images"]
    for title, found in (("kernel", kernels), ("operator", operators)):
        if found:
            parts.append(_table(title, found))
    return Profile(rows, f"{name[:90]} ({100 * most / total:.0f} %)", "\n\n".join(parts))


def _table(title: str, found: dict[str, list[float]]) -> str:
    total = sum(seconds for seconds, _ in found.values())
    lines = [f"{'ms a step':>10} {'share':>6} {'calls':>7}  {title}"]
    for name, (seconds, count) in sorted(found.items(), key=lambda item: -item[1][0])[:_LINES]:
        lines.append(f"{1e3 * seconds:>10.3f} {100 * seconds / total:>5.1f}% {count:>7.1f}  {name[:110]}")
    return "\n".join(lines)


def _row(what: str, value: float, unit: str, reference: str) -> dict[str, Any]:
    return {"what": what, "value": value, "unit": unit, "reference": reference, "goal": None, "met": None}


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
