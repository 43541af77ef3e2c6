"""Write files atomically, append to a file, and exchange two paths."""

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
    """Yield a temporary file in the same folder; if the block succeeds, it replaces ``path``.

    The content is flushed to disk before the rename. On any failure the temporary file is removed and ``path`` is
    unchanged.

    Raises:
        UserError: the disk is full or the folder is not writable.
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
            f"{path}: could not be written ({describe_failure(error)}); the previous content is unchanged"
        ) from error
    finally:
        with suppress(OSError):  # if it could not be created, there is nothing to remove
            temporary.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file; raises the errors of :func:`replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text without changing its line ends; raises the errors of :func:`replacing`."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: object) -> None:
    """Write sorted, indented JSON; raises the errors of :func:`replacing`, and ValueError for NaN."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def append_text(path: Path, text: str) -> None:
    """Append UTF-8 text to a file and flush it to disk; a missing file is created.

    Raises:
        UserError: the disk is full or the file is not writable; part of the text may have been written.
    """
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"{path}: could not be written ({describe_failure(error)})") from error


def describe_failure(error: OSError) -> str:
    """The reason why a write failed, as text."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "the disk or quota is full" if full else error.strerror or str(error)


def expanded(folder: str | Path) -> Path:
    """A path with a leading ``~`` or ``~name`` replaced by that user's home folder.

    Raises:
        UserError: the user does not exist, or has no known home folder.
    """
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        name = Path(folder).parts[0]
        raise UserError(f"{folder}: there is no home folder {name}; give the folder in full, or as ./{name}") from None


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two paths of one file system atomically; return False, and do nothing, if the system cannot.

    Raises:
        OSError: one of them does not exist, or the folder is not writable.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # Linux, with a C library since 2018
    if rename is None:
        return False
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):  # an old kernel, or a file system without support
        return False
    raise OSError(number, os.strerror(number), str(one))


_HERE = -100
"""AT_FDCWD: relative paths start from the working folder."""
_EXCHANGE = 2
"""RENAME_EXCHANGE of renameat2(2)."""
