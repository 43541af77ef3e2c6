"""Report the progress of an evaluation, in lines on standard error."""

from __future__ import annotations

import sys
import time

SECONDS = 30.0
"""Smallest time in seconds between two lines; the first and the last line are always written."""


class Pace:
    """Reports finished steps, as in ``saliency: 50 of 300 photographs, 12.5 s``.

    Args:
        what: the protocol, with the part if there are several.
        total: number of steps.
        unit: the name of a step, in the plural.
    """

    def __init__(self, what: str, total: int, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._start = self._reported = time.monotonic()

    def step(self, done: int, _total: int) -> None:
        """Like :meth:`reached`, for callers that also pass the number of steps."""
        self.reached(done)

    def reached(self, done: int, more: str = "") -> None:
        """Report that ``done`` steps are finished, followed by the text ``more``, unless the last line is too
        recent."""
        now = time.monotonic()
        if done not in (1, self._total) and now - self._reported < SECONDS:
            return
        self._reported = now
        tail = f", {more}" if more else ""
        line = f"{self._what}: {done} of {self._total} {self._unit}, {now - self._start:.1f} s{tail}"
        print(line, file=sys.stderr, flush=True)
