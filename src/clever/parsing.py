"""The boundary to foreign content: whatever a parser raises becomes one line that names the file.

A damaged or hostile file makes parsers raise almost anything (ValueError, KeyError, RecursionError, MemoryError,
OverflowError, SyntaxError ...), and opening a pipe never returns. Files of a study, of a store and of a run are read
through the functions below, so that each of these becomes a :class:`~clever.errors.UserError`.
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
"""Bytes of the largest text that is read; a larger one is no description of a study, a store or a run."""


@contextmanager
def foreign(source: str | Path, fault: str, advice: str = "") -> Iterator[None]:
    """Turn whatever the block raises into one line: ``<source>: <fault> (<reason>); <advice>``.

    Args:
        source: the file or flag, with the key where it is known.
        fault: what is wrong then, in a few words.
        advice: what would put it right.

    Raises:
        UserError: for any exception. Those that are a UserError already pass unchanged. A lack of memory is said as
            such and never taken for damage: the advice is then to give the process more of it.
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
    "could not be read, because this process may not take more memory; raise its limit (ulimit -v, or the scheduler's) "
    "or free some"
)


def lacks_memory(error: BaseException) -> bool:
    """Whether an exception says that the process could not get memory, whatever its type."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # torch reports it as a RuntimeError.
    return isinstance(error, RuntimeError) and ("can't allocate memory" in str(error) or "out of memory" in str(error))


def reason(error: BaseException) -> str:
    """An exception as a few words in one line."""
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
        OSError: there is no such file, or it is a folder, a pipe or a device, which would block or never end.
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
        OSError: what :func:`require_regular` raises, or the file is larger.
        UnicodeDecodeError: it is not UTF-8.
    """
    size = require_regular(path)
    if size > limit:
        raise OSError(errno.EFBIG, f"{size} bytes, more than the {limit} allowed", str(path))
    return path.read_text(encoding="utf-8")


def decode_json(text: str | bytes, source: str | Path, fault: str = "not valid JSON", advice: str = "") -> Any:
    """The content of a JSON text.

    Raises:
        UserError: as :func:`foreign`, for a text that is no JSON or is nested too deeply.
    """
    with foreign(source, fault, advice):
        return json.loads(text)


def read_json_object(path: Path, *, absent: str, advice: str) -> dict[str, Any]:
    """The object of a JSON file.

    Args:
        path: the file.
        absent: what it means that there is none.
        advice: what to do about a damaged one.

    Raises:
        UserError: the file is absent, no regular file, no JSON, or JSON of another kind.
    """
    with foreign(path, "cannot be read", advice):
        try:
            text = read_text(path)
        except FileNotFoundError:
            raise UserError(f"{path}: missing; {absent}") from None
    content = decode_json(text, path, "damaged, not valid JSON", advice)
    if not isinstance(content, dict):
        raise UserError(f"{path}: damaged, it holds a JSON {_KINDS.get(type(content), 'value')}, no object; {advice}")
    return content


_KINDS = {list: "list", str: "string", int: "number", float: "number", bool: "value", type(None): "null"}


def require_kinds(content: dict[str, Any], kinds: dict[str, type | tuple[type, ...]], path: Path, advice: str) -> None:
    """Whether an object has these keys with values of these types.

    Raises:
        UserError: naming the file and the first key that is missing or of another type.
    """
    for key, kind in kinds.items():
        if key not in content:
            raise UserError(f"{path}: damaged, the key {key} is missing; {advice}")
        if not isinstance(content[key], kind) or (isinstance(content[key], bool) and kind is not bool):
            raise UserError(f"{path}: damaged, the key {key} holds a {type(content[key]).__name__}; {advice}")
