"""A full disk, and folders that cannot be written."""

from __future__ import annotations

import os
import resource
import signal
import stat
from functools import partial
from pathlib import Path

from faults.bench import STEPS, Bench, newest, states
from faults.mounts import leave_for_own_mounts, make_read_only, make_writable, mount_memory, resize
from faults.row import Row, expect

_NOBODY = 65534


def rows(bench: Bench, tries: int | None) -> list[Row]:
    """A full disk: a small separate file system where mounting is possible, otherwise a limit on the file size."""
    expected = "one line; the previous state is intact; continues to the same bits once there is space"
    few = 2 if bench.can_mount else 5
    # The disk has room for 0, 1 or 2 states, so that the first, second or third save fails.
    room = [0.5, 1.5, 1.9, 2.5, 2.9][: tries or 5]
    full = Row(4, "disk full while saving (a small tmpfs)", expected, [partial(_full, bench, n) for n in room])
    limited = Row(
        4,
        "file too large while saving (RLIMIT_FSIZE)",
        expected,
        [partial(_limited, bench) for _ in range(tries or few)],
    )
    read_only = Row(
        11,
        "read-only results folder (a read-only mount)",
        "one line names the folder; nothing is written; works once the folder is writable",
        [partial(_read_only, bench, part) for part in ("run", "run/state")[: tries or 2]],
    )
    foreign = Row(
        11,
        "results folder of somebody else (run as another user)"
        if os.geteuid() == 0
        else "results folder without write permission",
        "one line names the folder; nothing is written",
        [partial(_foreign, bench, command) for command in ("pretrain", "prepare")[: tries or 2]],
    )
    return [full, limited, read_only, foreign] if bench.can_mount else [limited, foreign]


def _state_bytes(bench: Bench) -> int:
    return states(bench.halfway)[0].stat().st_size


def _full(bench: Bench, holds: float, folder: Path) -> str:
    leave_for_own_mounts()
    disk = folder / "disk"
    # One page for each of the small files next to the states.
    mount_memory(disk, int(holds * _state_bytes(bench)) + 32_768)
    output = disk / "run"
    output.mkdir()
    saved = int(holds) * STEPS
    log = bench.pretrain(output)
    said = log.must_refuse(f"the training state of step {saved + STEPS} could not be saved", "full")
    expect(newest(output) == saved, f"the newest state is of step {newest(output)}, not {saved}")
    expect(not (output / "run.json").exists(), "a run.json was written")
    resize(disk, 20 * _state_bytes(bench))
    bench.must_go_on(output, saved)
    return said


def _limited(bench: Bench, folder: Path) -> str:
    output = bench.copy_halfway(folder)
    at = newest(output)
    before = {path.name: path.read_bytes() for path in states(output)}

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (_state_bytes(bench) // 2, resource.RLIM_INFINITY))

    said = bench.pretrain(output, prepare=limit).must_refuse("the training state of step", "could not be saved")
    expect({path.name: path.read_bytes() for path in states(output)} == before, "the states before have changed")
    bench.must_go_on(output, at)
    return said


def _read_only(bench: Bench, part: str, folder: Path) -> str:
    leave_for_own_mounts()
    output = bench.copy_halfway(folder)
    before = _listing(output)
    make_read_only(folder / part)
    said = bench.pretrain(output).must_refuse(part, "could not be written")
    expect(_listing(output) == before, "something was written")
    make_writable(folder / part)
    bench.must_go_on(output, newest(bench.halfway))
    return said


def _foreign(bench: Bench, command: str, folder: Path) -> str:
    output = folder / "theirs"
    output.mkdir()
    output.chmod(stat.S_IRUSR | stat.S_IXUSR | stat.S_IROTH | stat.S_IXOTH)

    def become_nobody() -> None:
        if os.geteuid() == 0:
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)

    if command == "pretrain":
        job = bench.pretrain(output, prepare=become_nobody)
    else:
        job = bench.prepare({"source": "digits"}, output / "store", folder, become_nobody)
    said = job.must_refuse("theirs", "could not be written", "Permission denied")
    expect(not _listing(output), f"something was written: {_listing(output)}")
    return said


def _listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path.relative_to(folder)), path.stat().st_size) for path in folder.rglob("*"))
