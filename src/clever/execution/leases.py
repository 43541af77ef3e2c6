"""One GPU a job on a machine with several: file locks that go with the process that holds them."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from clever.errors import UserError
from clever.locks import HeldError, exclusive

_SECONDS_BETWEEN_LOOKS = 0.2
_SCHEDULED = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")


@contextmanager
def leased(names: Sequence[str], folder: Path | None = None, patience: float | None = None) -> Iterator[int]:
    """Hold one of several things for this process alone, waiting while other processes hold all of them.

    The kernel holds the lock: it is free again as soon as the process has ended, however that came about.

    Args:
        names: what to choose from; the same name means the same thing in every process of this machine and user.
        folder: where the lock files lie, on this machine's own disk; None is ``lease_folder()``.
        patience: seconds to wait at most; None waits for ever.

    Yields:
        The position in ``names`` of the one that is held until the block ends.

    Raises:
        UserError: there is nothing to choose from, nothing was free within ``patience``, or the folder cannot be
            written.
    """
    if not names:
        raise UserError("there is no GPU to take; give --device cpu")
    folder = lease_folder() if folder is None else folder
    held, position = _acquire(names, folder, patience)
    with held:
        yield position


def _acquire(names: Sequence[str], folder: Path, patience: float | None) -> tuple[ExitStack, int]:
    begin, told = time.monotonic(), False
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(folder)
        while True:
            holders: list[str] = []
            for position, name in enumerate(names):
                held = ExitStack()
                try:
                    held.enter_context(exclusive(folder / f"{name}.lock", folder / f"{name}.json"))
                except HeldError as error:
                    holders.append(f"{name}: {error}")
                    continue
                return held, position
            if patience is not None and time.monotonic() - begin > patience:
                raise UserError(
                    f"none of {len(names)} GPUs became free within {patience:g} s; wait for the jobs that hold them "
                    f"({'; '.join(holders)}), or take a GPU regardless: --device cuda, and CUDA_VISIBLE_DEVICES to say "
                    "which"
                )
            if not told:
                who = "; ".join(holders)
                print(
                    f"waiting for one of {len(names)} GPUs, all held by other jobs ({who})", file=sys.stderr, flush=True
                )
                told = True
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    except OSError as error:
        raise UserError(f"{folder}: GPUs cannot be leased here ({error.strerror}); give --device cuda:0") from error


def _check_owner(folder: Path) -> None:
    """Refuse a folder that others can write to: anybody may make one of any name in a common temporary folder."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        why = "is no folder of its own (a link)"
    elif status.st_uid != os.getuid():
        why = f"belongs to user {status.st_uid}"
    elif status.st_mode & 0o022:
        why = f"may be written by others (mode {stat.S_IMODE(status.st_mode):o})"
    else:
        return
    raise UserError(f"{folder}: GPUs are not leased here, it {why}; remove it, or set TMPDIR to a folder of yours")


def lease_folder() -> Path:
    """Where this user's leases lie on this machine."""
    return Path(tempfile.gettempdir()) / f"clever-gpus-{os.getuid()}"


def assigned(visible: int) -> bool:
    """Whether a scheduler has given exactly the GPUs that are visible to exactly the processes of this job.

    There is nothing to share out then. A job that was given more GPUs than it has processes (several runs inside one
    allocation) shares them out like any other machine.

    Args:
        visible: GPUs that this process can see.
    """
    scheduled = "CUDA_VISIBLE_DEVICES" in os.environ and any(name in os.environ for name in _SCHEDULED)
    return scheduled and visible == int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
