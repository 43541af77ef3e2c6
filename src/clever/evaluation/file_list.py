"""Text files that list image files, one name per line."""

from __future__ import annotations

from pathlib import Path

from clever.errors import UserError


def read_list(path: Path) -> list[str]:
    """The non-empty lines of a file list.

    Raises:
        UserError: the file is missing, is not text or contains no line.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list of file names ({error})") from error
    names = [line for line in lines if line]
    if not names:
        raise UserError(f"{path}: holds no file name; give a list with one file name per line")
    return names
