"""Private file systems for a try, full or read-only: no other process sees them, and they end with the process."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

_CLONE_NEWNS = 0x00020000


def can_mount() -> bool:
    """Whether this process may mount file systems: it must be root, and the machine must allow it."""
    if os.geteuid() != 0:
        return False
    pid = os.fork()
    if pid == 0:
        try:
            leave_for_own_mounts()
            _mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt")
        except (OSError, subprocess.CalledProcessError):
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def leave_for_own_mounts() -> None:
    """Make all later mounts private to this process and its children.

    Raises:
        OSError: the process is not permitted to do this.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("--make-rprivate", "/")


def mount_memory(folder: Path, size: int) -> None:
    """An empty file system of ``size`` bytes at ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))


def resize(folder: Path, size: int) -> None:
    """Resize the file system at ``folder``."""
    _mount("-o", f"remount,size={size}", str(folder))


def make_read_only(folder: Path) -> None:
    """Make everything below ``folder`` read-only, for root too."""
    _mount("--bind", str(folder), str(folder))
    _mount("-o", "remount,bind,ro", str(folder))


def make_writable(folder: Path) -> None:
    """Undo :func:`make_read_only`."""
    _mount("-o", "remount,bind,rw", str(folder))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)
