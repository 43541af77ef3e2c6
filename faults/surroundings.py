"""Clocks that jump, files dated in the future, and folders with unusual names."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

from faults.bench import DATA, OFTEN, Bench, newest
from faults.job import Job
from faults.row import Row, expect

_YEAR = 365 * 86_400
_UNCOMMON = "Ergebnisse für  Zoë's 数字 & $HOME #1"


def rows(bench: Bench, tries: int | None) -> list[Row]:
    """Rows about time, then rows about names."""
    return [
        Row(
            11,
            "the clock jumps a year forwards and backwards, between and within steps",
            "states are still saved and resumed, to the same bits",
            [partial(_clock, bench, jump) for jump in (_YEAR, -_YEAR)][:tries],
        ),
        Row(
            11,
            "states, lock and store dated a year ahead, or in 1970",
            "dates are ignored: resumes from the newest step to the same bits",
            [partial(_dated, bench, when) for when in (time.time() + _YEAR, 0.0)][:tries],
        ),
        Row(
            11,
            "folders with spaces, quotes, `$`, `&` and letters beyond ASCII",
            "prepared, trained, stopped, resumed to the same bits, evaluated",
            [partial(_uncommon, bench)],
        ),
    ]


def _clock(bench: Bench, jump: int, folder: Path) -> str:
    output = folder / "run"

    def let_it_jump() -> None:
        right, asked = time.time, [0]

        def wrong() -> float:
            asked[0] += 1
            return right() + jump * (asked[0] % 2)

        time.time = wrong

    job = bench.pretrain(output, every=OFTEN, prepare=let_it_jump)
    expect(job.wait_until(lambda: newest(output) >= 3, "a state"), f"ended early: {job.said[-300:]}")
    job.signal(signal.SIGTERM)
    job.must_end(75, "the state is saved")
    again = bench.pretrain(output, prepare=let_it_jump)
    said = again.must_end(0, f"resumes at step {newest(output)} of")
    bench.must_equal_reference(output)
    return said


def _dated(bench: Bench, when: float, folder: Path) -> str:
    output = bench.copy_halfway(folder)
    at = newest(output)
    # The newest state gets the oldest date, so that sorting by date would give the wrong order.
    for age, path in enumerate(sorted((output / "state").iterdir())):
        os.utime(path, (when - age, when - age))
    return bench.must_go_on(output, at)


def _uncommon(bench: Bench, folder: Path) -> str:
    home = folder / _UNCOMMON
    home.mkdir()
    store, output = home / "store", home / "run"
    bench.prepare(DATA, store, home).must_end(0)
    job = bench.pretrain(output, every=OFTEN, store=store)
    expect(job.wait_until(lambda: newest(output) >= 3, "a state"), f"ended early: {job.said[-300:]}")
    job.signal(signal.SIGTERM)
    job.must_end(75, "the state is saved")
    said = bench.pretrain(output, store=store).must_end(0, f"resumes at step {newest(output)} of")
    bench.must_equal_reference(output)
    words = ["evaluate", "--options", '{"knn": {"perturbations": ["orig"]}}', "--run", output]
    words += ["--store", store, "--output-folder", home, "--threads", "1"]
    Job(words, home / "evaluate.log").must_end(0)
    expect((home / "knn.json").stat().st_size > 0, "no records were written")
    return said
