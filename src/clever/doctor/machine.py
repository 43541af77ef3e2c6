"""Check the cores, shared memory, clock and folders of this machine."""

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
"""Bytes of shared memory that suffice for NCCL between the GPUs of one machine; containers start with 64 MB."""

CLOCK_SLACK_SECONDS = 60.0
_FILES_AT_MOST = 2000


def check_cores() -> Finding:
    """Check the cores that this process may use, their load, and the limit of a control group."""
    cores = usable_cores()
    quota = _processor_quota()
    if quota is not None and quota < cores - 0.5:
        return Finding(
            "cores",
            "warning",
            f"{cores} are visible, but a limit allows only {quota:.1f}; use --cores {max(int(quota), 1)}",
        )
    load = os.getloadavg()[0]
    if load > cores / 2:
        return Finding("cores", "warning", f"{cores}, already with a load of {load:.1f}: jobs will take longer")
    threads = os.environ.get("OMP_NUM_THREADS")
    return Finding("cores", "ok", f"{cores} usable" + (f", OMP_NUM_THREADS={threads}" if threads else ""))


def check_shared_memory(gpus: int) -> Finding:
    """Check the size of ``/dev/shm``, through which several GPUs communicate; decoding threads need none."""
    if gpus < 2:
        return Finding("shared memory", "ok", "not used: threads decode the batches, and only several GPUs need it")
    if not SHARED_MEMORY.is_dir():
        return Finding("shared memory", "warning", f"no {SHARED_MEMORY}, through which NCCL connects {gpus} GPUs")
    total = shutil.disk_usage(SHARED_MEMORY).total
    if total < SHARED_MEMORY_NEEDED:
        return Finding(
            "shared memory",
            "warning",
            f"{gigabytes(total)}: a run on several GPUs may stop; start the container with --shm-size=1g or --ipc=host",
        )
    return Finding("shared memory", "ok", gigabytes(total))


def check_clock(files: Iterable[Path]) -> Finding:
    """Check whether files have dates in the future. Snakemake compares dates and would run some jobs again and again.

    At most the first 2000 files are checked.
    """
    now, count = time.time(), 0
    for file in islice(files, _FILES_AT_MOST):
        try:
            ahead = file.stat().st_mtime - now
        except OSError:  # removed in the meantime
            continue
        count += 1
        if ahead > CLOCK_SLACK_SECONDS:
            return Finding(
                "clock",
                "FAIL",
                f"{file} is dated {ahead / 60:.0f} minutes in the future, but Snakemake decides by dates what to run; "
                "set the clock, or touch the file",
            )
    return Finding("clock", "ok", f"none of {count} files is dated in the future")


def check_folder(subject: str, folder: Path) -> Finding:
    """Check whether files can be created in ``folder`` or, if it does not exist, in its nearest existing parent.

    A probe file is written and removed. Its date shows whether a file server's clock differs from this machine's.
    """
    place = existing(folder)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".clever-doctor-") as probe:
            before = time.time()
            probe.write(b"probe")
            probe.flush()
            os.fsync(probe.fileno())
            skew = os.fstat(probe.fileno()).st_mtime - before
    except OSError as error:
        return Finding(
            subject,
            "FAIL",
            f"{place}: cannot be written ({describe_failure(error)}); work in another folder, or get write permission",
        )
    if abs(skew) > CLOCK_SLACK_SECONDS:
        return Finding(
            subject,
            "FAIL",
            f"{place}: its clock differs from this machine's by {skew:.0f} s; set it, since Snakemake decides by dates",
        )
    return Finding(subject, "ok", f"{place} is writable")


def existing(folder: Path) -> Path:
    """``folder``, or its nearest existing parent."""
    absolute = folder.absolute()
    return next(path for path in (absolute, *absolute.parents) if path.is_dir())


def usable_cores() -> int:
    """Number of CPU cores that this process may use; in a Slurm job, its share."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor_quota() -> float | None:
    """Cores that a control group (a container) allows; None if there is no limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)
