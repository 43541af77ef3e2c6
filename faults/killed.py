"""Trainers that are killed, warned by a signal, or started twice."""

from __future__ import annotations

import os
import random
import signal
import time
from functools import partial
from pathlib import Path

from clever.pretraining.interruption import REQUEUE_STATUS, STOPPED_STATUS
from faults.bench import OFTEN, TOTAL, Bench, newest
from faults.job import Job, ended_at_last
from faults.row import Row, Unexpected, expect


def rows(bench: Bench, tries: int | None) -> list[Row]:
    """SIGKILL, the two warnings, and a second trainer."""
    warned = [
        Row(
            3,
            f"{number.name} while training",
            "state saved within 10 s; exit status 75 (restart requested); resumes to the same bits",
            [partial(_warned, bench, number, seed) for seed in range(tries or 7)],
        )
        for number in (signal.SIGTERM, signal.SIGUSR1)
    ]
    stopped = Row(
        3,
        "Ctrl-C while training",
        "state saved within 10 s; exit status 130 (stopped by hand); resumes to the same bits",
        [partial(_warned, bench, signal.SIGINT, seed) for seed in range(tries or 7)],
    )
    return [
        Row(
            1,
            "SIGKILL at a random step, in the middle of saving or of writing the results",
            "resumes; the weights equal the undisturbed run's bit for bit (sha256)",
            [partial(_killed, bench, seed) for seed in range(tries or 30)],
        ),
        *warned,
        stopped,
        Row(
            9,
            "two trainers on one run",
            "the second stops and names the first, which continues to the same bits",
            [partial(_second, bench, seed) for seed in range(tries or 3)],
        ),
    ]


def _struck(bench: Bench, seed: int, folder: Path) -> tuple[Path, Job]:
    """A run that was killed at a step drawn from the seed; if it ended before the signal, it is tried again."""
    draw = random.Random(f"killed/{seed}")
    for attempt in range(6):
        output = folder / f"run{attempt}"
        wanted, delay = draw.randrange(TOTAL + 1), draw.random() * 0.05
        # The first try starts the command as a user does, the others fork a process that has imported torch.
        job = bench.pretrain(output, every=OFTEN, fresh=seed == 0)
        job.wait_until(lambda at=wanted, into=output: newest(into) >= at, f"step {wanted}")  # type: ignore[misc]
        time.sleep(delay)
        job.signal(signal.SIGKILL)
        job.wait()
        if not (output / "run.json").exists():
            return output, job
    raise Unexpected("six runs ended before the signal")


def _killed(bench: Bench, seed: int, folder: Path) -> str:
    output, job = _struck(bench, seed, folder)
    expect(job.status() == -signal.SIGKILL, f"status {job.status()}: {job.said[-300:]}")
    return bench.must_go_on(output, newest(output))


def _warned(bench: Bench, number: signal.Signals, seed: int, folder: Path) -> str:
    output = folder / "run"
    wanted = random.Random(f"{number.name}/{seed}").randrange(1, TOTAL - 4)
    # No state is due by time, so a state saved within an epoch was saved because of the signal.
    job = bench.pretrain(output, prepare=partial(_say_steps, folder / "steps"))
    job.wait_until(lambda: _size(folder / "steps") >= wanted, f"step {wanted}")
    sent = time.monotonic()
    job.signal(number)
    job.wait()
    seconds = time.monotonic() - sent
    status = STOPPED_STATUS if number == signal.SIGINT else REQUEUE_STATUS
    said = job.must_end(status, f"{number.name} at step {newest(output)}; the state is saved")
    expect(newest(output) >= wanted, f"state of step {newest(output)}, the signal came after {wanted}")
    expect(seconds < 10, f"{seconds:.1f} s from the signal to the end")
    bench.must_go_on(output, newest(output))
    return said


def _second(bench: Bench, seed: int, folder: Path) -> str:
    output = folder / "run"
    with ended_at_last(bench.pretrain(output, every=OFTEN)) as first:
        expect(first.wait_until(lambda: newest(output) > seed, "a state"), f"the first ended: {first.said[-300:]}")
        first.signal(signal.SIGSTOP)
        # In every other try, the second trainer is the command as a user starts it.
        said = bench.pretrain(output, fresh=seed % 2 == 0).must_refuse(
            "another trainer is at work here", f"process {first.pid} on "
        )
        first.signal(signal.SIGCONT)
        first.must_end(0)
    bench.must_equal_reference(output)
    return said


def _say_steps(path: Path) -> None:
    """Have the trainer add a byte to a file after every step."""
    from clever.pretraining.trainer import Trainer

    original = Trainer.step
    path.touch()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)

    def noted(self: Trainer, batch: object, iteration: int) -> object:
        values = original(self, batch, iteration)  # type: ignore[arg-type]
        os.write(descriptor, b".")
        return values

    Trainer.step = noted  # type: ignore[assignment, method-assign]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
