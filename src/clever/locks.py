"""An exclusive lock on a path for one process: a kernel lock if the file system supports it, else a claim in a file."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

_UNSUPPORTED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)
_SQUEUE_SECONDS = 20
_READS, _SECONDS_BETWEEN_READS = 20, 0.01
_ENDED = (
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "TIMEOUT",
)


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock.

    ``machine`` identifies the running kernel and its process namespace, so that equal process numbers in containers
    with equal host names are never confused. ``started`` is the kernel's start time of the process in clock ticks;
    ``since`` is the time at which it took the lock (UTC, ISO 8601). ``by`` is "kernel" or "file".
    """

    pid: int
    host: str
    machine: str
    started: str
    since: str
    by: str
    slurm_job: str | None = None
    slurm_restarts: int = 0
    slurm_cluster: str | None = None

    def __str__(self) -> str:
        job = f", Slurm job {self.slurm_job}" if self.slurm_job else ""
        return f"process {self.pid} on {self.host}{job}, since {self.since}"

    @classmethod
    def this_process(cls, by: str) -> Holder:
        """Describe this process as a holder from now on."""
        return cls(
            pid=os.getpid(),
            host=socket.gethostname(),
            machine=machine(),
            started=_started(os.getpid()),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            by=by,
            slurm_job=os.environ.get("SLURM_JOB_ID"),
            slurm_restarts=_restarts(),
            slurm_cluster=os.environ.get("SLURM_CLUSTER_NAME"),
        )

    @property
    def is_gone(self) -> bool:
        """Whether the process is known to have ended; False if that is unknown."""
        if self.machine == machine():
            return _started(self.pid) != self.started
        if self.slurm_job is None or self.slurm_cluster != os.environ.get("SLURM_CLUSTER_NAME"):
            return False
        if self.slurm_job == os.environ.get("SLURM_JOB_ID"):
            # Slurm restarts a job only after it has ended on its nodes.
            return _restarts() > self.slurm_restarts
        return _has_ended(self.slurm_job)


class HeldError(Exception):
    """Another process holds the lock; the message names it and says what to do if it is dead."""


@contextmanager
def exclusive(lock: Path, owner: Path) -> Iterator[None]:
    """Hold ``lock`` for this process alone, and name this process in the file ``owner``.

    The kernel releases its lock (flock) when the process ends, for any reason; the age of files does not matter. On a
    file system without flock, ``owner`` itself is the claim: it remains when its process is killed, and is taken over
    once that process is known to have ended (see :attr:`Holder.is_gone`).

    Raises:
        HeldError: another process holds it.
        OSError: the folder cannot be written.
    """
    if has_flock(lock.parent):
        kernel = FileLock(lock)
        try:
            kernel.acquire(timeout=0)
        except Timeout:
            raise HeldError(_just_taken(owner)) from None
        try:
            _refuse_claims(owner)
            _write(owner, Holder.this_process("kernel"), exclusively=False)
            yield
        finally:
            _drop(owner)
            kernel.release()
    else:
        _claim(owner)
        try:
            yield
        finally:
            _drop(owner)


def shown(owner: Path) -> str:
    """The holder of a lock according to its ``owner`` file, as text."""
    holder = _read(owner)
    return "its process could not be read" if holder is None else str(holder)


def _just_taken(owner: Path) -> str:
    """The holder of a kernel lock, as text; waits briefly, since a new holder has yet to write its name."""
    for _ in range(_READS):
        if _read(owner) is not None:
            break
        time.sleep(_SECONDS_BETWEEN_READS)
    return shown(owner)


def has_flock(folder: Path) -> bool:
    """Whether the file system of ``folder`` supports locks that end with their process."""
    probe = folder / f".lock-probe.{unique_tag()}"
    descriptor = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    finally:
        os.close(descriptor)
        with suppress(OSError):
            probe.unlink()
    return True


def machine() -> str:
    """Twelve hexadecimal digits that identify the running kernel and its process namespace.

    Two values are equal only if equal process numbers mean the same process. They differ between containers of one
    host, between hosts of the same name, and after a restart of the machine.
    """
    facts = [socket.gethostname()]
    for read in (_boot, _namespace):
        with suppress(OSError):
            facts.append(read())
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def unique_tag() -> str:
    """A part of a temporary name that is unique to this process across machines and containers."""
    return f"{machine()}.{os.getpid()}.{secrets.token_hex(4)}"


def is_alive(process: int) -> bool:
    """Whether a process of this machine, of any user, is alive."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _claim(owner: Path) -> None:
    mine = Holder.this_process("file")
    for _ in range(3):
        try:
            _write(owner, mine, exclusively=True)
            return
        except FileExistsError:
            holder = _read(owner)
        if holder is None or not holder.is_gone:
            raise HeldError(_dead_or_alive(owner))
        # If several processes find the same dead holder, only one moves its claim away.
        aside = owner.with_name(f"{owner.name}.{unique_tag()}.dead")
        with suppress(FileNotFoundError):
            owner.rename(aside)
            if _read(aside) != holder:
                with suppress(FileExistsError):
                    os.link(aside, owner)  # a living process was faster: restore its claim
            aside.unlink()
    raise HeldError(_dead_or_alive(owner))


def _refuse_claims(owner: Path) -> None:
    """Raise HeldError if a process on a machine without kernel locks on this path has claimed it."""
    holder = _read(owner)
    if holder is not None and holder.by == "file" and not holder.is_gone:
        raise HeldError(_dead_or_alive(owner))


def _dead_or_alive(owner: Path) -> str:
    return (
        f"{shown(owner)}; this file system has no locks that end with their process, so the file {owner.name} is the "
        f"lock: if that process is dead, delete {owner}"
    )


def _drop(owner: Path) -> None:
    """Remove the claim of this process, but not of any other."""
    holder = _read(owner)
    if holder is not None and (holder.machine, holder.pid) == (machine(), os.getpid()):
        owner.unlink(missing_ok=True)


def _write(owner: Path, holder: Holder, *, exclusively: bool) -> None:
    text = json.dumps(asdict(holder), indent=2, sort_keys=True) + "\n"
    if exclusively:
        with owner.open("x", encoding="utf-8") as file:
            file.write(text)
    else:
        temporary = owner.with_name(f".{owner.name}.{unique_tag()}.partial")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(owner)


def _read(owner: Path) -> Holder | None:
    try:
        return Holder(**json.loads(owner.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())


def _started(process: int) -> str:
    """The start time of a living process in clock ticks since boot; "" if it has ended."""
    try:
        # The command's name in brackets may contain spaces and brackets.
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "alive" if not Path("/proc/self/stat").exists() and is_alive(process) else ""
    return "" if fields[0] in "ZX" else fields[19]


def _restarts() -> int:
    text = os.environ.get("SLURM_RESTART_COUNT", "0")
    return int(text) if text.isdecimal() else 0


def _has_ended(job: str) -> bool:
    """Whether Slurm reports that a job has ended; False if Slurm cannot be queried."""
    squeue = shutil.which("squeue")
    if squeue is None:
        return False
    command = [squeue, "--noheader", "--states=all", "--format=%T", f"--jobs={job}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_SQUEUE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    if answer.returncode != 0:
        # Slurm forgets jobs some minutes after they end.
        return "Invalid job id" in answer.stderr
    states = answer.stdout.split()
    return all(state.startswith(_ENDED) for state in states)
