"""The one exception that a user is meant to read."""

from __future__ import annotations


class UserError(Exception):
    """Something that the user can put right: a wrong key, a missing folder, a damaged file.

    The message is one line that names the file, key or value and says what would be right. The command line
    prints it as ``error: <message>`` without a traceback and exits with status 2.
    """
