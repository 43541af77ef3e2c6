"""Helpers for all benchmarks: alternating measurement of contenders, medians of ratios, output as a table or JSON.

Contenders alternate within a round, so that a slower machine slows all of them equally. A ratio is the median over
rounds of the ratios within a round, which is steadier than the ratio of two medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch


def parser(documentation: str | None) -> argparse.ArgumentParser:
    """The flags common to all benchmarks."""
    made = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    made.add_argument("--threads", type=int, default=None, help="CPU threads of torch; default: torch's choice")
    made.add_argument("--rounds", type=int, default=5, help="measured rounds, after one discarded round")
    made.add_argument("--json", nargs="?", const="-", metavar="FILE", help="JSON to FILE, or to standard output")
    return made


def parse(made: argparse.ArgumentParser) -> argparse.Namespace:
    """The flags, with torch's threads set."""
    arguments = made.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    return arguments


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Wall-clock seconds of one call, with the device synchronised before and after."""
    _wait_for(device)
    start = time.perf_counter()
    work()
    _wait_for(device)
    return time.perf_counter() - start


def alternate(
    contenders: Mapping[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of every contender in every round except the first, which is a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, work in contenders.items():
            spent = seconds_of(work, device)
            if number:
                seconds[name].append(spent)
        last = ", ".join(f"{name} {spent[-1]:.3f} s" for name, spent in seconds.items() if spent)
        print(f"round {number}: {last or 'warm-up'}", file=sys.stderr)
    return seconds


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median of the ratios round by round."""
    return statistics.median(one / other for one, other in zip(numerators, denominators, strict=True))


def row(
    what: str, value: float, unit: str, reference: str, goal: float | None = None, most: bool = False
) -> dict[str, Any]:
    """One line of a report.

    Args:
        what: what the number is, in words.
        value, unit: the number and its unit.
        reference: what it is compared with or how it is measured; may be empty.
        goal: the value to reach or, with ``most``, not to exceed.
    """
    met = None if goal is None else (value <= goal if most else value >= goal)
    return {
        "what": what,
        "value": value,
        "unit": unit,
        "reference": reference,
        "goal": None if goal is None else f"{'at most' if most else 'at least'} {goal:g}",
        "met": met,
    }


def report(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Print the rows as a table, or as JSON with the settings and the machine."""
    if arguments.json:
        settings = {key: value for key, value in vars(arguments).items() if key != "json"}
        text = json.dumps({"machine": machine(arguments.device), "settings": settings, "rows": rows}, indent=2) + "\n"
        if arguments.json == "-":
            sys.stdout.write(text)
        else:
            Path(arguments.json).write_text(text, encoding="utf-8")
        return
    width = max(len(entry["what"]) for entry in rows)
    for entry in rows:
        verdict = "" if entry["goal"] is None else f"  goal {entry['goal']}: {'met' if entry['met'] else 'MISSED'}"
        reference = f"  ({entry['reference']})" if entry["reference"] else ""
        print(f"{entry['what']:<{width}}  {entry['value']:>10.4g} {entry['unit']}{verdict}{reference}")


def machine(device: str) -> dict[str, Any]:
    """The settings and the machine, on which the numbers depend."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "gpu": torch.cuda.get_device_name(device) if device.startswith("cuda") else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def resident_bytes(field: str) -> int:
    """A field of this process's /proc/self/status: VmRSS (resident memory now) or VmHWM (its peak so far)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))


def start_of_peak() -> int:
    """Resident memory now; also resets VmHWM (man proc: writing 5 to clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return resident_bytes("VmRSS")


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
