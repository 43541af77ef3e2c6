"""Attempts: each runs in a separate process and folder, however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faults import run as drill
from faults import runner
from faults.bench import Bench
from faults.row import Row, Unexpected
from faults.runner import run


def good(folder: Path) -> str:
    assert Path.cwd() == folder
    assert list(folder.iterdir()) == []
    return f"process {os.getpid()}"


def unexpected(_: Path) -> str:
    raise Unexpected("it went on")


def broken(_: Path) -> str:
    raise KeyError("nothing there")


def dying(_: Path) -> str:
    os._exit(3)


def sleeping(_: Path) -> str:
    time.sleep(60)
    return ""


def test_all_outcomes_of_an_attempt_are_distinguished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "LIMIT", 2.0)
    tries = [good, unexpected, broken, dying, sleeping, good]
    started = time.monotonic()
    mixed, fine = run([Row(1, "mixed", "", tries), Row(2, "fine", "", [good])], tmp_path, at_once=3)
    assert time.monotonic() - started < 20
    assert len(mixed.said) == 2
    assert len({*mixed.said, *fine.said, f"process {os.getpid()}"}) == 4
    texts = mixed.unexpected
    assert texts[0] == "it went on"
    assert "KeyError: 'nothing there'" in texts[1]
    assert all("the try died or took more than" in text for text in texts[2:])
    assert len(texts) == 4
    assert 2.0 < mixed.seconds < 20
    assert fine.unexpected == []


def test_processes_that_an_attempt_leaves_running_are_ended(tmp_path: Path) -> None:
    def leaving(_: Path) -> str:
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        return str(left.pid)

    (outcome,) = run([Row(1, "an orphan", "", [leaving])], tmp_path, at_once=1)
    orphan = Path("/proc", outcome.said[0], "stat")
    deadline = time.monotonic() + 10
    while orphan.exists() and orphan.read_text().rsplit(")", 1)[1].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("attempt", "status"), [(good, 0), (unexpected, 1), (broken, 1)])
def test_one_unexpected_outcome_fails_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], attempt: object, status: int
) -> None:
    monkeypatch.setattr(Bench, "make", lambda _: None)
    monkeypatch.setattr(drill, "GROUPS", (lambda *_: [Row(3, "a fault", "works", [good, attempt])],))  # type: ignore[list-item]
    monkeypatch.setattr(sys, "argv", ["faults", "--output", str(tmp_path / "faults.md")])
    assert drill.main() == status
    assert f"| 3 | a fault | 2 | {2 - status} |" in (tmp_path / "faults.md").read_text()
    assert ("not as expected: 3 a fault: " in capsys.readouterr().err) == bool(status)
