"""Write one small file for each set of source files that counts for a job, which is the job's only input for them.

A job depends on about ninety modules, and Snakemake handles every input of every job separately: 21,000 inputs in a
plan of the whole paper. The file has one line per module, its SHA-256 and its path, so a difference between two
versions names the modules.
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

from clever.errors import UserError
from clever.locks import unique_tag


@functools.cache
def code_sums(path: Path, files: tuple[Path, ...]) -> str:
    """Bring the file at ``path`` up to date and return its name.

    Snakemake compares times first and then contents. The file's time is therefore that of the newest source file. If
    the contents have changed but no source file is newer, for example because old files were copied with their times,
    the file gets the present time. Without a change the file keeps its time.

    Args:
        path: the file to write; the same for the same purpose in every plan.
        files: the source files, sorted.

    Raises:
        UserError: the file cannot be written.
    """
    facts = [_facts(file) for file in files]
    text = "".join(f"{sums}  {file.as_posix()}\n" for file, (sums, _) in zip(files, facts, strict=True))
    newest = max(changed for _, changed in facts)
    try:
        before, changed = path.read_text(encoding="utf-8"), path.stat().st_mtime_ns
    except OSError:
        before, changed = None, 0
    if before == text and changed >= newest:
        return str(path)
    if before is not None and before != text and newest <= changed:
        newest = time.time_ns()
    temporary = path.with_name(f".{path.name}.{unique_tag()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        os.utime(temporary, ns=(newest, newest))
        # Replaced atomically, because a job on another machine may be reading it.
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise UserError(f"{path}: could not be written ({error.strerror})") from error
    return str(path)


@functools.cache
def _facts(file: Path) -> tuple[str, int]:
    """SHA-256 and time of modification in nanoseconds."""
    return hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns
