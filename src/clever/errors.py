"""The one exception that a user is meant to read."""

from __future__ import annotations

import unicodedata

_FORGING = frozenset({"Cc", "Zl", "Zp"})
"""Unicode's categories of control characters and of separators of lines and paragraphs."""
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of what follows them."""


class UserError(Exception):
    """Something that the user can put right: a wrong key, a missing folder, a damaged file.

    The message is one line that names the file, key or value and says what would be right. The command line
    prints it as ``error: <message>`` without a traceback and exits with status 2. Whatever a file's name or content
    brings into it, it stays one line (:func:`one_line`).
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """Text for a log or a terminal, which names from outside cannot break out of.

    Line breaks, other control characters (a terminal's colours and cursor) and marks that turn the direction of writing
    become escapes as in Python: ``\\n``, ``\\x1b``.
    """
    return "".join(
        repr(character)[1:-1] if unicodedata.category(character) in _FORGING or character in _TURNING else character
        for character in text
    )
