"""Kernel locks and lock files between real processes, and information about a lock's holder."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from clever.locks import HeldError, Holder, exclusive, has_flock, machine, unique_tag


@pytest.fixture(params=["flock", "no flock"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "no flock":
        refuse_flock(monkeypatch)
    return str(request.param)


def refuse_flock(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOSYS) -> None:
    """Simulate a file system without flock, for this process and its forks."""

    def refuse(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)


def paths(folder: Path) -> tuple[Path, Path]:
    return folder / "lock", folder / "owner.json"


def hold(folder: Path, line: Connection) -> None:
    with exclusive(*paths(folder)):
        line.send("ready")
        line.poll(60)


@contextmanager
def another(folder: Path) -> Iterator[multiprocessing.process.BaseProcess]:
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()
    process = context.Process(target=hold, args=(folder, theirs))
    process.start()
    assert mine.poll(60)
    try:
        yield process
    finally:
        if process.is_alive():
            mine.send("go")
        process.join(60)


def held_by(folder: Path) -> str:
    with pytest.raises(HeldError) as caught, exclusive(*paths(folder)):
        pass
    return str(caught.value)


def claim(folder: Path, **changed: object) -> Holder:
    """Write the lock file of a process on another host, which cannot be checked."""
    elsewhere = replace(Holder.this_process("file"), machine="000000000000", host="node7", pid=4711, **changed)
    (folder / "owner.json").write_text(json.dumps(asdict(elsewhere)))
    return elsewhere


def test_the_error_names_the_holder_and_its_start(tmp_path: Path, kind: str) -> None:
    with another(tmp_path) as other:
        text = held_by(tmp_path)
        assert text.startswith(f"process {other.pid} on {os.uname().nodename}, since 20")
        if kind == "no flock":
            assert text.endswith(f"if that process is dead, delete {tmp_path / 'owner.json'}")
    with exclusive(*paths(tmp_path)):
        assert json.loads((tmp_path / "owner.json").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "owner.json").exists()


@pytest.mark.usefixtures("kind")
def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with another(tmp_path) as other:
        other.kill()
        other.join(60)
        assert (tmp_path / "owner.json").exists()
        with exclusive(*paths(tmp_path)):
            assert json.loads((tmp_path / "owner.json").read_text())["pid"] == os.getpid()
    assert {path.name for path in tmp_path.iterdir()} <= {"lock"}


def test_an_equal_process_number_is_not_the_same_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock has this process's number but another start time, so the process that took it has ended."""
    refuse_flock(monkeypatch)
    stale = replace(Holder.this_process("file"), started="1")
    (tmp_path / "owner.json").write_text(json.dumps(asdict(stale)))
    with exclusive(*paths(tmp_path)):
        pass


def test_a_holder_on_another_machine_is_never_considered_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_flock(monkeypatch)
    claim(tmp_path)
    assert "process 4711 on node7" in held_by(tmp_path)
    (tmp_path / "owner.json").unlink()  # as the message says
    with exclusive(*paths(tmp_path)):
        pass


def test_a_lock_file_counts_even_if_another_machine_has_flock(tmp_path: Path) -> None:
    claim(tmp_path)
    assert "process 4711 on node7" in held_by(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"pid": 3}'])
def test_an_unreadable_lock_file_counts_as_held_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    refuse_flock(monkeypatch)
    (tmp_path / "owner.json").write_text(text)
    assert held_by(tmp_path).startswith("its process could not be read; ")


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_file_systems_without_flock_are_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    assert has_flock(tmp_path)
    refuse_flock(monkeypatch, number)
    assert not has_flock(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_job_that_slurm_restarted_ignores_its_predecessor_s_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_flock(monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path))  # no squeue
    claim(tmp_path, slurm_job="17", slurm_restarts=1)
    assert "Slurm job 17" in held_by(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")  # another step of the same job start
    assert "Slurm job 17" in held_by(tmp_path)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    with exclusive(*paths(tmp_path)):
        holder = json.loads((tmp_path / "owner.json").read_text())
    assert (holder["slurm_job"], holder["slurm_restarts"]) == ("17", 2)


@pytest.mark.parametrize(
    ("answer", "gone"),
    [
        ("echo RUNNING", False),
        ("echo COMPLETING", False),
        ("echo PENDING", False),
        ("echo TIMEOUT", True),
        ("echo CANCELLED", True),
        ("printf 'TIMEOUT\\nRUNNING\\n'", False),
        ("true", True),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", True),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", False),
    ],
)
def test_slurm_is_asked_about_the_job_of_a_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, gone: bool
) -> None:
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text(f'#!/bin/sh\ncase "$*" in *--jobs=17*) ;; *) exit 3;; esac\n{answer}\n')
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{squeue.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "18")
    assert claim(tmp_path, slurm_job="17").is_gone is gone
    # A job on another cluster may have the same number.
    assert not claim(tmp_path, slurm_job="17", slurm_cluster="elsewhere").is_gone


def race(folder: Path, line: Connection, rounds: int) -> None:
    """Take the lock many times, each time over a dead process's lock file; report how often two processes held it."""
    fcntl.flock = lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSYS, "no flock"))  # type: ignore[assignment]
    clashes = taken = 0
    while taken < rounds:
        try:
            with exclusive(*paths(folder)):
                inside = folder / "inside"
                try:
                    inside.touch(exist_ok=False)
                    inside.unlink()
                except FileExistsError:
                    clashes += 1
                taken += 1
        except HeldError:
            continue
    line.send(clashes)


def test_lock_files_of_many_processes_exclude_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    lines = []
    for _ in range(3):
        mine, theirs = context.Pipe()
        context.Process(target=race, args=(tmp_path, theirs, 50)).start()
        lines.append(mine)
    assert all(line.poll(60) for line in lines)
    assert [line.recv() for line in lines] == [0, 0, 0]


def test_temporary_names_differ_in_containers_with_equal_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = {unique_tag() for _ in range(100)}
    assert len(tags) == 100
    here = machine()
    monkeypatch.setattr("clever.locks._namespace", lambda: "pid:[4026532001]")
    assert machine() != here
