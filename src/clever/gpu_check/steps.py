"""Run steps as processes, together or one by one, each with its own time limit; a failing step does not stop others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""
_BETWEEN_LOOKS = 10.0
LEAST = 5.0
"""A step that has fewer seconds than this left is not started."""


@dataclass(frozen=True)
class Step:
    """One process."""

    name: str
    section: str
    command: tuple[str, ...]
    seconds: float
    """Time limit in seconds."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """The result of a step, and its findings up to its end."""

    name: str
    section: str
    status: str
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    log: str = ""
    """The end of the output of a step that failed."""

    @property
    def good(self) -> bool:
        """Whether the step succeeded."""
        return self.status == "done"


def run_together(
    steps: Sequence[Step], deadline: float, folder: Path, ended: Callable[[Outcome], None], say: Callable[[str], None]
) -> None:
    """Run steps at the same time.

    Args:
        steps: the word ``FINDINGS`` in a command is replaced by the path of the step's findings file.
        deadline: in ``time.monotonic()``; no step runs beyond it, regardless of its own limit.
        folder: folder for findings and logs.
        ended: called with each outcome at once, and every ten seconds with the findings of the running steps.
        say: called with one line when a step starts.
    """
    going: list[tuple[Step, subprocess.Popen[bytes], float, float]] = []
    for step in steps:
        now = time.monotonic()
        if deadline - now < LEAST:
            ended(Outcome(step.name, step.section, "skipped: no time left"))
            continue
        command = [str(_findings(folder, step)) if word == "FINDINGS" else word for word in step.command]
        say(f"{step.section}: {step.name}, at most {min(step.seconds, deadline - now):.0f} s")
        _log(folder, step).parent.mkdir(parents=True, exist_ok=True)
        with _log(folder, step).open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"} | dict(step.environment),
                start_new_session=True,
            )
        going.append((step, process, now, min(now + step.seconds, deadline)))
    looked = time.monotonic()
    while going:
        if time.monotonic() - looked > _BETWEEN_LOOKS:
            for step, _, started, _ in going:
                ended(_outcome(step, "running", time.monotonic() - started, folder))
            looked = time.monotonic()
        for entry in list(going):
            step, process, started, limit = entry
            status = process.poll()
            if status is None and time.monotonic() < limit:
                continue
            words = "done" if status == 0 else f"failed (exit {status})"
            if status is None:
                words = f"stopped after its {time.monotonic() - started:.0f} s"
            end_group(process)  # includes processes that a step has left behind
            going.remove(entry)
            ended(_outcome(step, words, time.monotonic() - started, folder))
        time.sleep(0.05)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all processes that it started."""
    with suppress(ProcessLookupError, PermissionError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _outcome(step: Step, status: str, seconds: float, folder: Path) -> Outcome:
    found: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        found = json.loads(_findings(folder, step).read_text(encoding="utf-8"))
    log = ""
    if status not in ("done", "running"):
        log = _log(folder, step).read_text(encoding="utf-8", errors="replace")[-3000:]
    return Outcome(
        step.name, step.section, status, round(seconds, 1), found.get("rows", []), found.get("facts", {}), log
    )


def _findings(folder: Path, step: Step) -> Path:
    return folder / "findings" / f"{step.name}.json"


def _log(folder: Path, step: Step) -> Path:
    return folder / "logs" / f"{step.name}.log"
