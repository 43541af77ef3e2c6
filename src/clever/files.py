"""Files that appear whole or not at all, and one way to append to a file."""

from __future__ import annotations

import ctypes
import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clever.errors import UserError
from clever.locks import unique_tag


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling to write to; when the block succeeds it takes the place of ``path``.

    The content is on the disk before the name changes. On any failure the sibling is removed and ``path`` is as it
    was.

    Raises:
        UserError: the disk is full or the folder may not be written.
    """
    temporary = path.with_name(f".{path.name}.{unique_tag()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise UserError(
            f"{path}: could not be written ({describe_failure(error)}); what was there before is untouched"
        ) from error
    finally:
        with suppress(OSError):  # where it could not be made it cannot be removed either
            temporary.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file; raises as :func:`replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with its line ends as they are; raises as :func:`replacing`."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: object) -> None:
    """Write sorted, indented JSON; raises as :func:`replacing`, and ValueError for NaN."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def append_text(path: Path, text: str) -> None:
    """Add UTF-8 text to the end of a file and push it to the disk; the file is made when it is missing.

    Raises:
        UserError: the disk is full or the file may not be written; part of the text may be there.
    """
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"{path}: could not be written ({describe_failure(error)})") from error


def describe_failure(error: OSError) -> str:
    """Why a write failed, in words."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "the disk or quota is full" if full else error.strerror or str(error)


def expanded(folder: str | Path) -> Path:
    """A path with a leading ``~`` or ``~name`` replaced by that home folder.

    Raises:
        UserError: there is no such user, or no home folder is known.
    """
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        name = Path(folder).parts[0]
        raise UserError(f"{folder}: there is no home folder {name}; give the folder in full, or as ./{name}") from None


def sync_folder(folder: Path) -> None:
    """Push the names in a folder through to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def exchange(one: Path, other: Path) -> bool:
    """Let two paths of one file system change places in one step; False where the system cannot, and nothing is done.

    Raises:
        OSError: one of them is not there, or the folder may not be written.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # Linux, with a C library since 2018
    if rename is None:
        return False
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):  # an old kernel, or a file system that cannot
        return False
    raise OSError(number, os.strerror(number), str(one))


_HERE = -100
"""AT_FDCWD: relative paths start from the working folder."""
_EXCHANGE = 2
"""RENAME_EXCHANGE of renameat2(2)."""
