"""Runs the tries of all rows, each in a separate process, a few at a time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from faults.row import Outcome, Row, Try, Unexpected

LIMIT = 240.0
"""Seconds after which a try fails."""


@dataclass
class _Running:
    row: int
    number: int
    pid: int
    result: Path
    started: float


def run(rows: Sequence[Row], folder: Path, at_once: int) -> list[Outcome]:
    """Try every row.

    A try runs in a fork, so that it may patch, mount and drop privileges; processes that it has started end with it.

    Args:
        rows: the faults.
        folder: each try gets a folder below it.
        at_once: how many tries run in parallel.
    """
    waiting = [(place, number) for place, row in enumerate(rows) for number in range(len(row.tries))]
    results: dict[tuple[int, int], dict[str, object]] = {}
    running: list[_Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                place, number = waiting.pop(0)
                running.append(_start(rows[place].tries[number], folder / f"row{place:02d}" / f"try{number:02d}"))
                running[-1].row, running[-1].number = place, number
            time.sleep(0.005)
            for one in list(running):
                over = time.monotonic() - one.started
                ended = os.waitpid(one.pid, os.WNOHANG)[0] == one.pid
                if not ended and over > LIMIT:
                    os.kill(one.pid, signal.SIGKILL)
                    os.waitpid(one.pid, 0)
                if ended or over > LIMIT:
                    running.remove(one)
                    _end(one.pid)  # processes that it left running
                    results[one.row, one.number] = _read(one.result) | {"seconds": over}
    finally:
        for one in running:  # stopped with Ctrl-C
            _end(one.pid)
    return [_outcome(row, [results[place, n] for n in range(len(row.tries))]) for place, row in enumerate(rows)]


def _start(attempt: Try, folder: Path) -> _Running:
    folder.mkdir(parents=True)
    result = folder / "result.json"
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _try(attempt, folder / "files", result)
    return _Running(0, 0, pid, result, time.monotonic())


def _try(attempt: Try, folder: Path, result: Path) -> None:
    try:
        os.setpgid(0, 0)
        folder.mkdir()
        os.chdir(folder)
        try:
            content = {"said": attempt(folder)}
        except Unexpected as unexpected:
            content = {"unexpected": str(unexpected)}
        except BaseException:
            content = {"unexpected": traceback.format_exc(limit=-4)}
        result.write_text(json.dumps(content), encoding="utf-8")
    finally:
        os._exit(0)


def _end(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _read(result: Path) -> dict[str, object]:
    try:
        content: dict[str, object] = json.loads(result.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"unexpected": f"the try died or took more than {LIMIT:.0f} s"}
    return content


def _outcome(row: Row, results: Sequence[dict[str, object]]) -> Outcome:
    said = [str(result["said"]) for result in results if "said" in result]
    unexpected = [str(result["unexpected"]) for result in results if "unexpected" in result]
    return Outcome(row, said, unexpected, sum(float(str(result["seconds"])) for result in results))
