"""Locking on file systems without locks, lock files of processes on other hosts, and malicious file names."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image

from clever.data import Store, writing
from faults.bench import DATA, OFTEN, Bench, newest
from faults.job import ended_at_last
from faults.row import Row, expect


def rows(bench: Bench, tries: int | None) -> list[Row]:
    """Trainers without flock, a preparation killed while it replaces a store, and file names that forge log lines."""
    return [
        Row(
            14,
            "SIGKILL of a trainer on a file system without flock",
            "the next start on this host detects that the trainer is dead and resumes to the same bits",
            [partial(_killed_without_flock, bench, seed) for seed in range(tries or 5)],
        ),
        Row(
            14,
            "two trainers on a file system without flock",
            "the second stops and names the first, and the file to delete if that process is dead; the first finishes",
            [partial(_second_without_flock, bench, seed) for seed in range(tries or 3)],
        ),
        Row(
            14,
            "the lock file of a trainer on another host, without flock and with it",
            "stops, naming host, process and the file to delete; once it is deleted, resumes to the same bits",
            [partial(_elsewhere, bench, hook) for hook in (_refuse_flock, None)][:tries],
        ),
        Row(
            14,
            "SIGKILL of `clever prepare` at each rename with which it replaces a store",
            "a complete store exists after each kill",
            [partial(_killed_while_replacing, bench, before) for before in (True, False)][:tries],
        ),
        Row(
            14,
            "an image whose name has line breaks and a terminal's escape codes",
            "one line names it, with the line breaks escaped; the name cannot forge a line",
            [partial(_forged, bench, name) for name in _FORGED][:tries],
        ),
    ]


_FORGED = ("a\nerror: forged.png", "a\rtiny: prepared.png", "a\x1b[2K\x1b[1A.png", "a\u2028error: forged.png")


def _refuse_flock() -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    fcntl.flock = refuse


def _killed_without_flock(bench: Bench, seed: int, folder: Path) -> str:
    output = folder / "run"
    job = bench.pretrain(output, every=OFTEN, prepare=_refuse_flock)
    expect(job.wait_until(lambda: newest(output) > seed, "a state"), f"ended early: {job.said[-300:]}")
    job.signal(signal.SIGKILL)
    job.wait()
    expect((output / "state" / "owner.json").exists(), "the claim did not outlive its process: nothing was tried")
    said = bench.pretrain(output, prepare=_refuse_flock).must_end(0, "resumes at step")
    bench.must_equal_reference(output)
    return said


def _second_without_flock(bench: Bench, seed: int, folder: Path) -> str:
    output = folder / "run"
    with ended_at_last(bench.pretrain(output, every=OFTEN, prepare=_refuse_flock)) as first:
        expect(first.wait_until(lambda: newest(output) > seed, "a state"), f"the first ended: {first.said[-300:]}")
        first.signal(signal.SIGSTOP)
        said = bench.pretrain(output, prepare=_refuse_flock).must_refuse(
            "another trainer is at work here", f"process {first.pid} on ", "if that process is dead, delete "
        )
        first.signal(signal.SIGCONT)
        first.must_end(0)
    bench.must_equal_reference(output)
    return said


def _elsewhere(bench: Bench, hook: Callable[[], None] | None, folder: Path) -> str:
    output = bench.copy_halfway(folder)
    owner = output / "state" / "owner.json"
    claim = {"pid": 4711, "host": "node7", "machine": "000000000000", "started": "1", "by": "file"}
    claim |= {"since": "2026-01-01T00:00:00+00:00", "slurm_job": "17"}
    owner.write_text(json.dumps(claim))
    said = bench.pretrain(output, prepare=hook).must_refuse("process 4711 on node7, Slurm job 17", f"delete {owner}")
    owner.unlink()
    bench.pretrain(output, prepare=hook).must_end(0, "resumes at step")
    bench.must_equal_reference(output)
    return said


def _killed_while_replacing(bench: Bench, before: bool, folder: Path) -> str:
    store = folder / "store"
    bench.prepare(DATA, store, folder).must_end(0)

    def die_at_the_exchange() -> None:

        original = writing.exchange  # type: ignore[attr-defined]

        def exchange(one: Path, other: Path) -> bool:
            done = False if before else original(one, other)
            os.kill(os.getpid(), signal.SIGKILL)
            return done

        writing.exchange = exchange  # type: ignore[attr-defined]

    job = bench.prepare(DATA | {"train_limit": 32}, store, folder, die_at_the_exchange)
    job.wait()
    expect(job.status() == -signal.SIGKILL, f"status {job.status()}: {job.said[-300:]}")
    found = Store.open(store)
    found.verify()
    expect(len(found.split("train")) == (64 if before else 32), "neither the old store nor the new one")
    bench.prepare(DATA, store, folder).must_end(0)
    expect({path.name for path in folder.iterdir() if path.is_dir()} == {"store"}, "a leftover was not cleared away")
    return ""


def _forged(bench: Bench, name: str, folder: Path) -> str:
    for split in ("train", "val"):
        for label in ("ant", "bee"):
            place = folder / "photos" / split / label
            place.mkdir(parents=True)
            Image.new("RGB", (8, 8), (90, 20, 10)).save(place / "fine.png")
    (folder / "photos" / "train" / "ant" / name).write_bytes(b"no image")
    options = {"source": "image_folder", "root": str(folder / "photos"), "image_size": 8}
    job = bench.prepare(options, folder / "store", folder)
    said = job.must_refuse("unreadable")
    expect(all(ord(character) >= 32 for character in said), f"a control character came through: {said!r}")
    expect("\u2028" not in job.said and "\x1b" not in job.said, f"an escape came through: {job.said!r}")
    return said
