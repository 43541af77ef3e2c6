"""The exception whose message is written for the user."""

from __future__ import annotations

import unicodedata

_FORGING = frozenset({"Cc", "Zl", "Zp"})
"""Unicode categories of control characters and of line and paragraph separators."""
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of the text after them."""


class UserError(Exception):
    """An error that the user can fix: a wrong key, a missing folder, a damaged file.

    The message is one line that names the file, key or value and says what would be right. The command line prints it
    as ``error: <message>`` without a traceback and exits with status 2. It stays one line even if names or contents of
    files in it have line breaks (:func:`one_line`).
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """Escape text for a log or a terminal, so that foreign names in it stay on one line and cause no side effects.

    Line breaks, other control characters (a terminal's colours and cursor) and marks that change the direction of
    writing become escapes as in Python: ``\\n``, ``\\x1b``.
    """
    return "".join(
        repr(character)[1:-1] if unicodedata.category(character) in _FORGING or character in _TURNING else character
        for character in text
    )
