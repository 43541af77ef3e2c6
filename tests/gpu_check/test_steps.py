"""A step that crashes, hangs or runs out of time does not affect other steps, and its findings are kept."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from clever.gpu_check.steps import Outcome, Step, run_together

FOUND = (
    "import sys, time; from pathlib import Path; from clever.gpu_check.findings import Findings\n"
    "Findings(Path(sys.argv[2])).row('speed', 2.0, 'images/s', goal=3.0)\n"
)


def step(name: str, code: str, seconds: float = 60.0) -> Step:
    return Step(name, "speed", (sys.executable, "-c", code, "--findings", "FINDINGS"), seconds)


def outcomes(steps: list[Step], folder: Path, seconds: float = 100.0) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    run_together(steps, time.monotonic() + seconds, folder, lambda o: found.update({o.name: o}), lambda _: None)
    return found


def test_steps_end_independently(tmp_path: Path) -> None:
    found = outcomes(
        [
            step("good", FOUND),
            step("crash", FOUND + "raise SystemExit('it broke')"),
            # It has a child that would outlive it.
            step("hang", FOUND + "import subprocess; subprocess.run(['sleep', '600'])", seconds=15.0),
        ],
        tmp_path,
    )
    assert {name: outcome.status.split(" after")[0] for name, outcome in found.items()} == {
        "good": "done", "crash": "failed (exit 1)", "hang": "stopped",
    }  # fmt: skip
    for outcome in found.values():
        (row,) = outcome.rows
        assert (row["what"], row["value"], row["goal"], row["met"]) == ("speed", 2.0, "at least 3", False)
    assert "it broke" in found["crash"].log
    assert not found["good"].log


def test_a_step_without_time_is_skipped(tmp_path: Path) -> None:
    found = outcomes([step("late", "raise SystemExit")], tmp_path, seconds=1.0)
    assert found["late"].status == "skipped: no time left"
    assert not found["late"].good
