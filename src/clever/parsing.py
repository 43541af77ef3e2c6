"""Read foreign content: every exception of a parser becomes one line that names the file.

A damaged or hostile file can make parsers raise almost any exception (ValueError, KeyError, RecursionError,
MemoryError, OverflowError, SyntaxError ...), and opening a pipe never returns. Files of a study, of a store and of a
run are read through the functions below, so that each of these becomes a :class:`~clever.errors.UserError`.
"""

from __future__ import annotations

import errno
import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clever.errors import UserError

TEXT_LIMIT = 256_000_000
"""Bytes of the largest text that is read; a larger file is not a description of a study, a store or a run."""


@contextmanager
def foreign(source: str | Path, fault: str, advice: str = "") -> Iterator[None]:
    """Turn any exception of the block into one line: ``<source>: <fault> (<reason>); <advice>``.

    Args:
        source: the file or flag, with the key if known.
        fault: the fault in that case, in a few words.
        advice: how to fix it.

    Raises:
        UserError: for any exception. A UserError passes unchanged. A lack of memory is reported as such and never as
            damage; the advice is then to give the process more memory.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if lacks_memory(error):
            raise UserError(f"{source}: {NO_MEMORY}") from error
        raise UserError(f"{source}: {fault} ({reason(error)})" + (f"; {advice}" if advice else "")) from error


NO_MEMORY = (
    "could not be read, because this process has reached its memory limit; raise it (ulimit -v, or the scheduler's) "
    "or free some"
)


def lacks_memory(error: BaseException) -> bool:
    """Whether an exception, of any type, means that the process ran out of memory."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # torch reports it as a RuntimeError.
    return isinstance(error, RuntimeError) and ("can't allocate memory" in str(error) or "out of memory" in str(error))


def reason(error: BaseException) -> str:
    """Describe an exception in a few words on one line."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, KeyError):
        return f"the key {error.args[0]!r} is missing" if error.args else "a key is missing"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    return text[:200] if text else type(error).__name__


def require_regular(path: Path) -> int:
    """The size in bytes of a regular file.

    Raises:
        OSError: the file does not exist, or is a folder, a pipe or a device, which could block or never end.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return status.st_size


def read_text(path: Path, limit: int = TEXT_LIMIT) -> str:
    """The text of a regular file of at most ``limit`` bytes of UTF-8.

    Raises:
        OSError: see :func:`require_regular`; or the file is larger than ``limit``.
        UnicodeDecodeError: the file is not UTF-8.
    """
    size = require_regular(path)
    if size > limit:
        raise OSError(errno.EFBIG, f"{size} bytes, more than the {limit} allowed", str(path))
    return path.read_text(encoding="utf-8")


def decode_json(text: str | bytes, source: str | Path, fault: str = "not valid JSON", advice: str = "") -> Any:
    """The content of a JSON text.

    Raises:
        UserError: the text is not JSON or is nested too deeply (see :func:`foreign`).
    """
    with foreign(source, fault, advice):
        return json.loads(text)


def read_json_object(path: Path, *, absent: str, advice: str) -> dict[str, Any]:
    """The object of a JSON file.

    Args:
        path: the file.
        absent: the meaning of a missing file, for the message.
        advice: how to repair or replace a damaged file, for the message.

    Raises:
        UserError: the file is missing, not a regular file, not JSON, or not a JSON object.
    """
    with foreign(path, "cannot be read", advice):
        try:
            text = read_text(path)
        except FileNotFoundError:
            raise UserError(f"{path}: missing; {absent}") from None
    content = decode_json(text, path, "damaged, not valid JSON", advice)
    if not isinstance(content, dict):
        kind = _KINDS.get(type(content), "value")
        raise UserError(f"{path}: damaged, it holds a JSON {kind}, not an object; {advice}")
    return content


_KINDS = {list: "list", str: "string", int: "number", float: "number", bool: "value", type(None): "null"}


def require_kinds(content: dict[str, Any], kinds: dict[str, type | tuple[type, ...]], path: Path, advice: str) -> None:
    """Check that an object has these keys with values of these types.

    Raises:
        UserError: a key is missing or of the wrong type; the message names the file and the first such key.
    """
    for key, kind in kinds.items():
        if key not in content:
            raise UserError(f"{path}: damaged, the key {key} is missing; {advice}")
        if not isinstance(content[key], kind) or (isinstance(content[key], bool) and kind is not bool):
            raise UserError(f"{path}: damaged, the key {key} holds a {type(content[key]).__name__}; {advice}")
