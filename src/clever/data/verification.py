"""Compare the content of a store's files with the checksums in its description, once per job or once per machine.

Every job reads all files smaller than ``ALWAYS_BELOW`` (SHA-256, about 1.3 GB/s on a core with SHA instructions). A
larger file is read by the first job on a machine. Its identity (device, inode, size, times of the last change of
content and of inode, in nanoseconds) is then remembered below ``$XDG_CACHE_HOME/clever/verified`` (``~/.cache``), and
later jobs read the file again only if that identity has changed, as it does with every write, copy or restore. To
detect bytes that changed while the identity stayed the same (a failing disk), run ``clever doctor --verify``, which
always reads everything.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from clever.errors import UserError
from clever.files import write_json

ALWAYS_BELOW = 1_000_000_000
"""File size in bytes from which the identity is remembered; such a file takes about a second to read."""

_SETTLED_NANOSECONDS = 2_000_000_000
"""A file changed more recently than this is not remembered: another change could leave its times the same."""


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_file(path: Path, sha256: str, *, remember: bool) -> None:
    """Compare a file with its checksum.

    Args:
        path: the file.
        sha256: the checksum recorded when it was written, in hexadecimal.
        remember: rely on an earlier job's check of a large file if the file has not changed since.

    Raises:
        UserError: the file is not the one that was written, or cannot be read.
    """
    try:
        before = _identity(path)
        large = remember and before["size"] >= ALWAYS_BELOW
        memory = _memory(path) if large else None
        if memory is not None and _recall(memory) == before | {"sha256": sha256}:
            return
        started, now = time.monotonic(), time.time_ns()
        found = file_sha256(path)
        after = _identity(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); prepare the data set again") from error
    if found != sha256:
        raise UserError(
            f"{path}: sha256 is {found[:12]}…, {sha256[:12]}… was written; it was changed or damaged; prepare the "
            "data set again"
        )
    if memory is not None:
        size, seconds = before["size"] / 1e9, time.monotonic() - started
        print(f"{path}: {size:.1f} GB compared with their checksum in {seconds:.1f} s", file=sys.stderr)
        if after == before and now - max(before["mtime_ns"], before["ctime_ns"]) > _SETTLED_NANOSECONDS:
            # If nothing can be remembered (no home folder, a full disk), the next job reads the file again.
            with suppress(UserError, OSError):
                write_json(memory, before | {"sha256": sha256})


def _identity(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {
        "host": socket.gethostname(),
        "path": str(path.resolve()),
        "device": status.st_dev,
        "inode": status.st_ino,
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
    }


def _memory(path: Path) -> Path:
    """The file in which the identity of a store's file is remembered."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    name = hashlib.sha256(f"{socket.gethostname()}:{path.resolve()}".encode()).hexdigest()[:32]
    return Path(base).expanduser() / "clever" / "verified" / f"{name}.json"


def _recall(memory: Path) -> Mapping[str, Any] | None:
    try:
        content = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
