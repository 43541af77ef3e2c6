"""The findings of one step: rows with goals, saved after each row, so that a kill loses none of them."""

from __future__ import annotations

import argparse
import math
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clever.files import write_json


class Findings:
    """Rows in the format of ``benchmarks/rounds.py``, and facts by name.

    Args:
        path: the JSON file; None prints only.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self.facts: dict[str, Any] = {}

    def row(
        self,
        what: str,
        value: float,
        unit: str = "",
        reference: str = "",
        goal: float | None = None,
        most: bool = False,
    ) -> None:
        """Record a number; a later number with the same name replaces it.

        Args:
            what: a description of what was measured.
            value: the number; a non-finite one misses every goal.
            unit: its unit.
            reference: the value that it is compared with, or how it was measured.
            goal: the smallest allowed value, or the largest one with ``most``.
        """
        finite = math.isfinite(value)
        met = None if goal is None else finite and (value <= goal if most else value >= goal)
        words = None if goal is None else f"{'at most' if most else 'at least'} {goal:g}"
        entry = {
            "what": what,
            "value": value if finite else None,
            "unit": unit,
            "reference": reference,
            "goal": words,
            "met": met,
        }
        self.add([entry])

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Record the rows of a benchmark."""
        for entry in rows:
            self.rows = [row for row in self.rows if row["what"] != entry["what"]] + [entry]
            verdict = "" if entry["met"] is None else f"  ({entry['goal']}: {'met' if entry['met'] else 'MISSED'})"
            value = "not finite" if entry["value"] is None else f"{entry['value']:.4g}"
            print(f"{entry['what']}: {value} {entry['unit']}{verdict}", flush=True)
        self._write()

    def fact(self, name: str, value: object) -> None:
        """Record something other than a number with a goal; it must be JSON-serialisable."""
        self.facts[name] = value
        self._write()

    def _write(self) -> None:
        if self.path is not None:
            write_json(self.path, {"rows": self.rows, "facts": self.facts})


def step_parser(documentation: str | None) -> argparse.ArgumentParser:
    """The flags that all steps share."""
    parser = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, or cpu for the sizes of a rehearsal")
    parser.add_argument("--findings", type=Path, help="JSON file for the findings")
    return parser


def attempt(findings: Findings, what: str, work: Callable[[], None]) -> bool:
    """Call ``work``, one of several independent parts; if it raises, record where and continue.

    Returns:
        Whether it succeeded.
    """
    try:
        work()
    except Exception as error:  # the other parts still run after any error
        traceback.print_exc()
        findings.row(f"{what}: raised", 1.0, reference=describe_error(error), goal=0.0, most=True)
        return False
    return True


def describe_error(error: BaseException) -> str:
    """Type and first words of an error, and the last line of this project in its traceback."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "clever" in frame.filename]
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}: {' '.join(str(error).split())[:240]}"
