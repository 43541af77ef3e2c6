"""One GPU per job on a machine with several GPUs, by file locks that are released with the process."""

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
    """Hold one of several resources for this process alone; wait while other processes hold all of them.

    The kernel holds the lock and releases it as soon as the process has ended, for any reason.

    Args:
        names: the resources; a name means the same resource in every process of this machine and user.
        folder: folder of the lock files, on this machine's local disk; None means ``lease_folder()``.
        patience: seconds to wait at most; None waits for ever.

    Yields:
        The position in ``names`` of the resource that is held until the block ends.

    Raises:
        UserError: ``names`` is empty, nothing became free within ``patience``, or the folder cannot be written.
    """
    if not names:
        raise UserError("there is no GPU to use; choose --device cpu")
    folder = lease_folder() if folder is None else folder
    held, position = _acquire(names, folder, patience)
    with held:
        yield position


def _acquire(names: Sequence[str], folder: Path, patience: float | None) -> tuple[ExitStack, int]:
    begin, announced = time.monotonic(), False
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
                    f"({'; '.join(holders)}), or use a GPU regardless: --device cuda, with CUDA_VISIBLE_DEVICES to "
                    "choose which"
                )
            if not announced:
                who = "; ".join(holders)
                print(
                    f"waiting for one of {len(names)} GPUs, all held by other jobs ({who})", file=sys.stderr, flush=True
                )
                announced = True
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    except OSError as error:
        raise UserError(f"{folder}: GPUs cannot be leased here ({error.strerror}); choose --device cuda:0") from error


def _check_owner(folder: Path) -> None:
    """Reject a folder that other users can write to, because any user can create any name in a shared temporary
    folder."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        why = "is a link or a file, not a folder"
    elif status.st_uid != os.getuid():
        why = f"belongs to user {status.st_uid}"
    elif status.st_mode & 0o022:
        why = f"is writable by others (mode {stat.S_IMODE(status.st_mode):o})"
    else:
        return
    raise UserError(f"{folder}: GPUs cannot be leased here, it {why}; remove it, or set TMPDIR to your own folder")


def lease_folder() -> Path:
    """The folder of this user's leases on this machine."""
    return Path(tempfile.gettempdir()) / f"clever-gpus-{os.getuid()}"


def assigned(visible: int) -> bool:
    """Whether a scheduler has assigned exactly the visible GPUs to exactly the processes of this job.

    If so, there is nothing to lease. A job with more GPUs than processes (several runs inside one allocation) leases
    them like any other machine.

    Args:
        visible: number of GPUs that this process can see.
    """
    scheduled = "CUDA_VISIBLE_DEVICES" in os.environ and any(name in os.environ for name in _SCHEDULED)
    return scheduled and visible == int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
