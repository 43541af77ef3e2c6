"""One GPU a job on a machine with several: file locks that go with the process that holds them."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from clever.errors import UserError

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
    lock, position = _acquire(names, folder, patience)
    try:
        yield position
    finally:
        lock.release()


def _acquire(names: Sequence[str], folder: Path, patience: float | None) -> tuple[FileLock, int]:
    begin, told = time.monotonic(), False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            for position, name in enumerate(names):
                lock = FileLock(folder / f"{name}.lock")
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    continue
                return lock, position
            if patience is not None and time.monotonic() - begin > patience:
                raise UserError(
                    f"none of {len(names)} GPUs became free within {patience:g} s; wait for the jobs that hold them, "
                    "or take a GPU regardless: --device cuda, and CUDA_VISIBLE_DEVICES to say which"
                )
            if not told:
                print(f"waiting for one of {len(names)} GPUs, all held by other jobs", file=sys.stderr, flush=True)
                told = True
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    except OSError as error:
        raise UserError(f"{folder}: GPUs cannot be leased here ({error.strerror}); give --device cuda:0") from error


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
