"""Write a folder that appears complete or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clever.errors import UserError
from clever.files import describe_failure
from clever.locks import unique_tag


def require_new_folder(target: Path) -> None:
    """Require that a folder to write does not exist yet, or is empty.

    Raises:
        UserError: it is a file, has content, or cannot be listed.
    """
    try:
        free = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    except OSError as error:
        raise UserError(f"{target}: cannot be listed ({describe_failure(error)})") from error
    if not free:
        raise UserError(f"{target}: exists and is not an empty folder; name another folder, or delete it")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder next to ``target``; if the block succeeds, it becomes ``target``.

    On any failure the temporary folder is removed. Call :func:`require_new_folder` before expensive work.

    Raises:
        UserError: a folder or file could not be written, or ``target`` was filled in the meantime.
    """
    partial = target.with_name(f".{target.name}.{unique_tag()}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        if target.exists():
            target.rmdir()
        partial.rename(target)
    except OSError as error:
        raise UserError(f"{target}: could not be written ({describe_failure(error)}); nothing is left") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
