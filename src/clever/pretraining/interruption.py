"""Turn a scheduler's warning, or Ctrl-C, into a saved state."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REQUEUE_STATUS = 75
"""Exit status of a run that has saved its state and should be started again (EX_TEMPFAIL of sysexits.h)."""

STOPPED_STATUS = 130
"""Exit status of a program that was stopped with Ctrl-C."""

SECOND_PRESS_SECONDS = 0.5
"""Seconds until another Ctrl-C counts as a second one, because a launcher sends the first one to its processes
again."""


class Interrupted(Exception):  # noqa: N818 (it is not an error)
    """The run was asked to stop, and its state is saved. ``by_hand``: with Ctrl-C."""

    def __init__(self, message: str, by_hand: bool = False) -> None:
        super().__init__(message)
        self.by_hand = by_hand


class Interruption:
    """Whether SIGTERM, SIGUSR1 or SIGINT was received; the loop checks it after each step."""

    requested: str | None = None

    def __init__(self) -> None:
        self._pressed: float | None = None

    @property
    def by_hand(self) -> bool:
        """Whether the signal was Ctrl-C."""
        return self.requested == "SIGINT"

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self._pressed is None:
                self._pressed = time.monotonic()
                os.write(2, b"Ctrl-C: stops after this step and saves its state; once more stops at once\n")
            elif time.monotonic() - self._pressed > SECOND_PRESS_SECONDS:
                raise KeyboardInterrupt
        self.requested = signal.Signals(number).name


@contextmanager
def watch_signals() -> Iterator[Interruption]:
    """Record SIGTERM, SIGUSR1 and SIGINT instead of ending; the previous handlers are restored at the end.

    A second Ctrl-C raises KeyboardInterrupt as usual.
    """
    interruption = Interruption()
    watched = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = {number: signal.signal(number, interruption._note) for number in watched}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
