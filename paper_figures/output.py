"""Writing outputs so that a reader finds the old file or the new one, never half of one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from clever.errors import UserError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write ``content`` (text as UTF-8, line ends as given) to ``path``; the folder is made when it is missing."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise UserError(f"--output {path}: cannot write there ({error.strerror})") from None
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        # mkstemp makes files private; the result should be as readable as any other file of the user.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"--output {path}: cannot write there ({error.strerror})") from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
