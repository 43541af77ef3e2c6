"""Cores, shared memory, the clock and folders of this machine."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from clever.doctor.finding import Finding, gigabytes
from clever.files import describe_failure

SHARED_MEMORY = Path("/dev/shm")
SHARED_MEMORY_NEEDED = 2**30
"""Bytes that NCCL is comfortable with between the GPUs of one machine; containers start with 64 MB."""

CLOCK_SLACK_SECONDS = 60.0
_FILES_AT_MOST = 2000


def check_cores() -> Finding:
    """Cores that this process may use, what the rest of the machine does with them, and a control group's limit."""
    cores = usable_cores()
    quota = _processor_quota()
    if quota is not None and quota < cores - 0.5:
        return Finding(
            "cores",
            "warning",
            f"{cores} are visible, but a limit allows {quota:.1f} of them; give --cores {max(int(quota), 1)}",
        )
    load = os.getloadavg()[0]
    if load > cores / 2:
        return Finding("cores", "warning", f"{cores}, with a load of {load:.1f} on them already: times will be longer")
    threads = os.environ.get("OMP_NUM_THREADS")
    return Finding("cores", "ok", f"{cores} usable" + (f", OMP_NUM_THREADS={threads}" if threads else ""))


def check_shared_memory(gpus: int) -> Finding:
    """Room in ``/dev/shm``: several GPUs talk through it. Decoding needs none, its workers are threads."""
    if gpus < 2:
        return Finding("shared memory", "ok", "not used: batches are decoded by threads, and one GPU talks to nobody")
    if not SHARED_MEMORY.is_dir():
        return Finding("shared memory", "warning", f"no {SHARED_MEMORY}, through which NCCL connects {gpus} GPUs")
    total = shutil.disk_usage(SHARED_MEMORY).total
    if total < SHARED_MEMORY_NEEDED:
        return Finding(
            "shared memory",
            "warning",
            f"{gigabytes(total)}: a run on several GPUs may stop; give the container --shm-size=1g or --ipc=host",
        )
    return Finding("shared memory", "ok", gigabytes(total))


def check_clock(files: Iterable[Path]) -> Finding:
    """Whether files are dated in the future: Snakemake orders jobs by these dates, and would run some for ever.

    At most the first 2000 are looked at.
    """
    now, count = time.time(), 0
    for file in islice(files, _FILES_AT_MOST):
        try:
            ahead = file.stat().st_mtime - now
        except OSError:  # removed while we look
            continue
        count += 1
        if ahead > CLOCK_SLACK_SECONDS:
            return Finding(
                "clock",
                "FAIL",
                f"{file} is dated {ahead / 60:.0f} minutes in the future, and Snakemake decides by dates what to run; "
                "set the clock, or touch the file",
            )
    return Finding("clock", "ok", f"none of {count} files is dated in the future")


def check_folder(subject: str, folder: Path) -> Finding:
    """Whether files can be made in ``folder``, or, where it is still to be made, in the nearest folder above it.

    A probe file is written and removed. Its date against this machine's clock tells whether a file server's differs.
    """
    there = existing(folder)
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".clever-doctor-") as probe:
            before = time.time()
            probe.write(b"probe")
            probe.flush()
            os.fsync(probe.fileno())
            skew = os.fstat(probe.fileno()).st_mtime - before
    except OSError as error:
        return Finding(
            subject,
            "FAIL",
            f"{there}: cannot be written ({describe_failure(error)}); work in another folder, or get the right to",
        )
    if abs(skew) > CLOCK_SLACK_SECONDS:
        return Finding(
            subject,
            "FAIL",
            f"{there}: its clock is {skew:.0f} s off this machine's; Snakemake decides by dates, set one",
        )
    return Finding(subject, "ok", f"{there}: can be written")


def existing(folder: Path) -> Path:
    """``folder``, or the nearest one above it that exists."""
    absolute = folder.absolute()
    return next(path for path in (absolute, *absolute.parents) if path.is_dir())


def usable_cores() -> int:
    """CPU cores that this process may use; of a Slurm job, its share."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor_quota() -> float | None:
    """Cores that a control group (a container) grants; None where there is no limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)
