"""How many threads a command may be given."""

from __future__ import annotations

import os

from clever.errors import UserError

AT_LEAST = 64
"""Threads that are allowed whatever the machine: a test of one core may ask for several."""


def require_threads(count: int | None, flag: str) -> None:
    """Refuse a number of threads that no process on this machine can use.

    Args:
        count: threads; None and 0 leave the choice to the program.
        flag: where the number comes from, for the message.

    Raises:
        UserError: it is negative, or more than four times the machine's processors (and than 64).
    """
    processors = os.cpu_count() or 1
    most = max(4 * processors, AT_LEAST)
    if count is not None and not 0 <= count <= most:
        raise UserError(f"{flag} {count}: this machine has {processors} processors; give 1 to {processors}")
