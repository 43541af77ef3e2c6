"""The command line as a process that can receive signals: forked from this one, or a new interpreter."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from clever.augmentation import VIEW_MAKERS
from clever.baselines import BASELINES
from clever.data import SOURCES
from clever.equivariance import EQUIVARIANCES
from clever.evaluation import PROTOCOLS
from clever.implementation import implementation
from faults.row import Unexpected, expect

LIMIT = 120.0
"""Seconds after which a process that has not ended is killed and its try fails."""

Preparation = Callable[[], object]


class Job:
    """``clever <arguments>`` in a separate process.

    A forked job has torch imported already and starts at once; it runs ``clever.cli.main``, the function behind the
    command. A fresh job is the command as a user starts it, which spends seconds on imports.

    Args:
        arguments: the arguments of ``clever``.
        log: the file for its output.
        prepare: called first in the forked process, to set up the fault.
    """

    def __init__(self, arguments: Sequence[object], log: Path, prepare: Preparation | None = None, fresh: bool = False):
        self.log = log
        words = [str(argument) for argument in arguments]
        self._status: int | None = None
        if fresh:
            with log.open("wb") as output:
                command = [sys.executable, "-m", "clever.cli", *words]
                self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
            self.pid = self._process.pid
            return
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _become(words, log, prepare)

    @property
    def said(self) -> str:
        """Its output so far."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def lines(self) -> list[str]:
        """The lines of its output so far."""
        return [line for line in self.said.splitlines() if line.strip()]

    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        if self._status is None:
            pid, found = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(found)
        return self._status

    def wait(self, limit: float = LIMIT) -> int:
        """Wait for its end and return the exit status."""
        deadline = time.monotonic() + limit
        while (status := self.status()) is None:
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise Unexpected(f"still at work after {limit:.0f} s: {self.said[-300:]}")
            time.sleep(0.003)
        return status

    def wait_until(self, condition: Callable[[], bool], what: str) -> bool:
        """Wait until the condition holds (True), or until the process has ended (False)."""
        deadline = time.monotonic() + LIMIT
        while not condition():
            if self.status() is not None:
                return False
            expect(time.monotonic() < deadline, f"timed out waiting for {what}: {self.said[-300:]}")
            time.sleep(0.003)
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self.status() is None:
            os.kill(self.pid, number)

    def must_end(self, status: int, *texts: str) -> str:
        """Wait; it must end with this status, and its output must contain these texts and no traceback.

        Returns:
            The line that contains the last text.
        """
        found = self.wait()
        expect(found == status, f"status {found} instead of {status}: {self.said[-600:]}")
        expect("Traceback" not in self.said, f"a traceback: {self.said[-600:]}")
        for text in texts:
            expect(text in self.said, f"'{text}' was not said: {self.said[-600:]}")
        return next((line for line in self.lines() if texts and texts[-1] in line), "")

    def must_refuse(self, *texts: str) -> str:
        """Wait; it must end with status 2, these texts, and ``error: `` in its last line only.

        Returns:
            That line.
        """
        self.must_end(2, *texts)
        errors = [line for line in self.lines() if line.startswith("error: ")]
        expect(len(errors) == 1 and self.lines()[-1] == errors[0], f"not one clear line at the end: {self.said[-600:]}")
        expect(all(text in errors[0] for text in texts), f"the line lacks {texts}: {errors[0]}")
        return errors[0]


def import_what_jobs_import() -> None:
    """Import everything that the forks need, so that each starts at once. This includes modules that registries import
    on first use, and modules that data sources and backbones import when they are read and built."""
    for name in (
        *("clever.cli", "clever.config", "clever.pretraining.engine", "clever.evaluation.job"),
        *("clever.data.preparation", "clever.backbones.timm_backbone", "sklearn.datasets", "torchvision.datasets"),
    ):
        importlib.import_module(name)
    for path in (
        *(baseline.path for baseline in BASELINES.values()),
        *(add_on.path for add_on in EQUIVARIANCES.values()),
        *(protocol.path for protocol in PROTOCOLS.values()),
        *(source.reader for source in SOURCES.values()),
        *VIEW_MAKERS.values(),
    ):
        implementation(path)
    importlib.import_module("sklearn.datasets").load_digits()  # imports more


@contextlib.contextmanager
def ended_at_last(job: Job) -> Iterator[Job]:
    """Kill the job if it still exists when the block is left, even if it is stopped."""
    try:
        yield job
    finally:
        if job.status() is None:
            job.signal(signal.SIGKILL)
            os.waitpid(job.pid, 0)


def _become(words: list[str], log: Path, prepare: Preparation | None) -> None:
    status = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if prepare is not None:
            prepare()
        from clever.cli import main

        status = main(words)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
