"""The processes that started this one, used to recognise a job that a killed workflow starts a second time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Ancestor(NamedTuple):
    """A process above this one. The start time, in clock ticks, distinguishes it from a later process with the same
    pid."""

    pid: int
    started: str


def ancestors() -> tuple[Ancestor, ...]:
    """The processes above this one, nearest first, without the first process of the machine or container.

    The chain changes when one of them ends, because its child gets another parent. Without ``/proc``, only the parent
    is known.
    """
    found: list[Ancestor] = []
    pid = os.getppid()
    while pid > 1:
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return (*found, Ancestor(pid, ""))
        fields = text.rpartition(")")[2].split()
        found.append(Ancestor(pid, fields[19]))
        pid = int(fields[1])
    return tuple(found)
