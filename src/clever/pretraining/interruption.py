"""Turns a scheduler's warning into a saved state."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REQUEUE_STATUS = 75
"""Exit status that means: the state is saved, start me again (EX_TEMPFAIL of sysexits.h)."""


class Interrupted(Exception):  # noqa: N818 (it is no error)
    """The run was asked to stop, and its state is saved."""


class Interruption:
    """Whether SIGTERM or SIGUSR1 has come; the loop looks after each step."""

    requested: str | None = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = signal.Signals(number).name


@contextmanager
def watch_signals() -> Iterator[Interruption]:
    """Note SIGTERM and SIGUSR1 instead of dying of them; the handlers before are restored at the end."""
    interruption = Interruption()
    before = {number: signal.signal(number, interruption._note) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
