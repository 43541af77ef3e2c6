"""The number of threads that a command may use."""

from __future__ import annotations

import os

from clever.errors import UserError

AT_LEAST = 64
"""Number of threads that is always allowed, because a test may use several threads on one core."""


def require_threads(count: int | None, flag: str) -> None:
    """Reject a number of threads that no process on this machine can use.

    Args:
        count: threads; None and 0 leave the choice to the program.
        flag: the command-line flag that set it, for the message.

    Raises:
        UserError: ``count`` is negative, or above both 64 and four times the number of processors.
    """
    processors = os.cpu_count() or 1
    most = max(4 * processors, AT_LEAST)
    if count is not None and not 0 <= count <= most:
        raise UserError(f"{flag} {count}: this machine has {processors} processors; choose 1 to {processors}")
