"""Training states: two generations, checked on reading, rejected if foreign, and safe from full disks and other
trainers."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import multiprocessing.process
import os
import pickle
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch

from clever.errors import UserError
from clever.pretraining.state import METRICS, StateFolder, drop_finished_state

IDENTITY = {"run": "digits/tiny/dino/baug/seed0", "recipe": "0123", "data": "4567", "version": "0.1.0"}


@pytest.fixture
def states(tmp_path: Path) -> StateFolder:
    folder = tmp_path / "state"
    folder.mkdir()
    return StateFolder(folder, IDENTITY)


def payload(value: float, size: int = 50_000) -> dict[str, Any]:
    return {
        "weights": torch.full((size,), value),
        "nested": {"seconds": value, "health": "ok", "steps": [1, (2, None)]},
    }


def loaded_value(states: StateFolder) -> float:
    found = states.load()
    assert found is not None
    iteration, content = found
    assert content["nested"]["seconds"] == iteration
    assert torch.equal(content["weights"], torch.full((50_000,), float(iteration)))
    return float(iteration)


def files(states: StateFolder) -> list[str]:
    return sorted(path.name for path in states.folder.iterdir())


def test_without_a_saved_state_nothing_is_loaded(states: StateFolder) -> None:
    assert states.load() is None
    assert states.newest_iteration() is None


def test_a_saved_state_is_loaded(states: StateFolder) -> None:
    saved = payload(7)
    states.save(7, saved)
    found = states.load()
    assert found is not None
    assert found[0] == states.newest_iteration() == 7
    assert torch.equal(found[1]["weights"], saved["weights"])
    assert found[1]["nested"] == saved["nested"]


def test_the_newest_two_are_kept(states: StateFolder) -> None:
    for iteration in (5, 10, 1000):
        states.save(iteration, payload(iteration))
    assert [name[:15] for name in files(states)] == ["state-000000010", "state-000001000"]
    assert loaded_value(states) == 1000


def test_the_name_holds_the_checksum(states: StateFolder) -> None:
    path = states.save(3, payload(3))
    assert path.name == f"state-000000003-{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}.pt"


def truncate(path: Path) -> None:
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size // 2)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty])
def test_a_damaged_state_is_named_and_the_one_before_it_is_used(states: StateFolder, damage: Any) -> None:
    states.save(10, payload(10))
    newest = states.save(20, payload(20))
    damage(newest)
    with pytest.warns(UserWarning, match=rf"{newest.name}: damaged"):
        assert loaded_value(states) == 10
    # The run continues; the damaged state must not remain as one of the two generations.
    states.save(20, payload(20) | {"again": 1})
    assert len(files(states)) == 2
    truncate(next(states.folder.glob("state-000000020-*")))
    with pytest.warns(UserWarning, match="damaged"):
        assert loaded_value(states) == 10


def test_if_all_states_are_damaged_there_is_none(states: StateFolder) -> None:
    for iteration in (1, 2):
        empty(states.save(iteration, payload(iteration)))
    with pytest.warns(UserWarning, match="damaged"):
        assert states.load() is None


@pytest.mark.parametrize("key", ["run", "recipe", "data", "version"])
def test_a_state_of_another_run_is_rejected_with_both_names(states: StateFolder, key: str) -> None:
    path = states.save(4, payload(4))
    other = StateFolder(states.folder, IDENTITY | {key: "another"})
    with pytest.raises(UserError) as raised:
        other.load()
    text = str(raised.value)
    assert path.name in text
    assert f"{key} {IDENTITY[key]}" in text
    assert f"{key} another" in text
    assert "\n" not in text
    assert loaded_value(states) == 4


def saved_as(folder: Path, content: object) -> Path:
    """Write a file with ``content`` whose name claims that it is complete."""
    written = folder / "written"
    torch.save(content, written)
    path = named_by_checksum(folder, written.read_bytes())
    written.unlink()
    return path


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_state_of_another_format_is_refused_by_its_number(states: StateFolder, number: int) -> None:
    old: dict[str, Any] = {"identity": dict(IDENTITY), "iteration": 9, "payload": payload(9)}
    if number == 1:
        old["identity"]["format"] = "1"
    else:
        old["format"] = number
    path = saved_as(states.folder, old)
    with pytest.raises(UserError, match=rf"{path.name}: has state format {number}, this program reads format 3; "):
        states.load()
    assert path.exists()


@pytest.mark.parametrize("content", [[1, 2], {"payload": 3}, {"identity": "mine"}, torch.zeros(3)])
def test_a_foreign_file_with_the_name_of_a_state_is_rejected(states: StateFolder, content: object) -> None:
    path = saved_as(states.folder, content)
    with pytest.raises(UserError, match=rf"{path.name}: refused, it is not a training state"):
        states.load()


class Trap:
    """Unpickling it would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def named_by_checksum(folder: Path, content: bytes) -> Path:
    path = folder / f"state-000000009-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    path.write_bytes(content)
    return path


def test_code_in_a_state_is_rejected_and_not_executed(states: StateFolder, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    written = tmp_path / "trap.pt"
    torch.save({"identity": states.identity, "iteration": 9, "payload": Trap(trap)}, written)
    path = named_by_checksum(states.folder, written.read_bytes())
    with pytest.raises(UserError, match=rf"{path.name}: refused, it holds more than a training state"):
        states.load()
    path.unlink()
    named_by_checksum(states.folder, pickle.dumps(Trap(trap), protocol=2))
    with pytest.raises(UserError, match="refused"):
        states.load()
    assert not trap.exists()


def refuse(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def write_half_then_refuse(_: object, file: BinaryIO) -> None:
    file.write(b"half")
    raise RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing file")


@pytest.mark.parametrize(
    ("place", "fault", "why"),
    [
        ("torch.save", refuse, "the disk or quota is full"),
        ("torch.save", write_half_then_refuse, "failed writing file"),
        ("clever.files.os.fsync", refuse, "the disk or quota is full"),
        ("os.replace", refuse, "the disk or quota is full"),
    ],
)
def test_a_full_disk_gives_one_line_and_keeps_the_earlier_states(
    states: StateFolder, monkeypatch: pytest.MonkeyPatch, place: str, fault: Any, why: str
) -> None:
    states.save(1, payload(1))
    states.save(2, payload(2))
    before = files(states)
    monkeypatch.setattr(place, fault)
    with pytest.raises(UserError) as raised:
        states.save(3, payload(3))
    monkeypatch.undo()
    assert "the training state of step 3 could not be saved" in str(raised.value)
    assert "the run then resumes from the state of step 2" in str(raised.value)
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)
    assert files(states) == before
    assert loaded_value(states) == 2


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Make the operating system reject writes of more than ``size`` bytes to any file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_real_write_error_of_the_operating_system(states: StateFolder) -> None:
    states.save(2, payload(2))
    before = files(states)
    with largest_file(100_000), pytest.raises(UserError, match=r"step 3 could not be saved \(File too large\)"):
        states.save(3, payload(3, size=1_000_000))
    assert files(states) == before
    assert loaded_value(states) == 2


def hold(folder: Path, line: Connection) -> None:
    with StateFolder(folder, IDENTITY).locked():
        line.send("ready")
        line.poll(60)  # until the other end writes or closes


@contextmanager
def another_trainer(folder: Path) -> Iterator[multiprocessing.process.BaseProcess]:
    """Hold the lock in another process within the block."""
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


def test_a_second_trainer_is_rejected_with_the_name_of_the_first(states: StateFolder) -> None:
    with (
        another_trainer(states.folder) as other,
        pytest.raises(UserError, match=rf"another trainer is at work here \(process {other.pid} on "),
        states.locked(),
    ):
        pass
    with states.locked():
        assert json.loads((states.folder / "owner.json").read_text())["pid"] == os.getpid()
    assert "owner.json" not in files(states)


def test_a_killed_trainer_releases_its_lock(states: StateFolder) -> None:
    with another_trainer(states.folder) as other:
        other.kill()
        other.join(60)
        assert (states.folder / "owner.json").exists()  # it could not clean up
        with states.locked():
            assert json.loads((states.folder / "owner.json").read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("age", [-(10**9), 10**6])
def test_the_lock_does_not_depend_on_file_dates(states: StateFolder, age: int) -> None:
    """Even with dates years ago or in the future, a dead trainer's lock is free and a living trainer's lock is held."""

    def date() -> None:
        for name in ("lock", "owner.json"):
            when = (states.folder / name).stat().st_mtime + age
            os.utime(states.folder / name, (when, when))

    with another_trainer(states.folder) as other:
        date()
        with pytest.raises(UserError, match="another trainer is at work here"), states.locked():
            pass
        other.kill()
        other.join(60)
        date()
        with states.locked():
            pass


def test_the_trainer_that_holds_the_folder_learns_of_a_rejected_start(states: StateFolder) -> None:
    with states.locked():
        assert not states.has_refused()
        rival = StateFolder(states.folder, IDENTITY)
        with pytest.raises(UserError, match="start again"), rival.locked():
            pass
        assert states.has_refused()
    with states.locked():
        assert not states.has_refused()


def test_a_folder_that_cannot_be_created_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(UserError, match=r"file/state: could not be written \(Not a directory\)"),
        StateFolder(tmp_path / "file" / "state", IDENTITY).locked(),
    ):
        pass


def test_an_error_releases_the_lock(states: StateFolder) -> None:
    with pytest.raises(KeyError), states.locked():
        raise KeyError
    with states.locked():
        pass


def test_leftovers_of_a_killed_save_are_removed_by_the_next_trainer(states: StateFolder) -> None:
    state = states.save(2, payload(2))
    for leftover in (".unverified.pt.4711.partial", "unverified.pt"):
        (states.folder / leftover).write_bytes(b"half a state")
    with states.locked():
        assert [name for name in files(states) if "unverified" in name] == []
    assert state.exists()


def test_clearing_removes_only_states(states: StateFolder) -> None:
    states.save(2, payload(2))
    (states.folder / "metrics.csv").write_text("epoch\n")
    (states.folder / "state-of-mind.pt").write_text("not ours")
    states.clear()
    assert files(states) == ["metrics.csv", "state-of-mind.pt"]


def start(folder: Path, line: Connection) -> None:
    """Start a second trainer that reports whether it was rejected."""
    line.send("at the door")
    try:
        with StateFolder(folder, IDENTITY).locked():
            line.send("inside")
    except UserError:
        line.send("refused")


def test_a_trainer_that_starts_while_another_ends_waits_for_the_lock(states: StateFolder) -> None:
    """Between the check for rejected starts and the release of the lock, a new start waits for the lock."""
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()
    rival = context.Process(target=start, args=(states.folder, theirs))
    with states.locked():
        states.save(3, payload(3))
        states.close_to_others()
        assert not states.has_refused()
        rival.start()
        assert mine.recv() == "at the door"
        assert not mine.poll(0.3)  # neither rejected nor holding the lock
        states.clear()
    assert mine.poll(60)
    assert mine.recv() == "inside"
    rival.join(60)


def test_the_state_of_a_finished_run_is_deleted_after_its_first_evaluation(states: StateFolder) -> None:
    run = states.folder.parent
    with states.locked():
        states.save(3, payload(3))
    (states.folder / METRICS).write_text("epoch\n")
    drop_finished_state(run)
    assert states.newest_iteration() == 3  # the run has not ended
    (run / "run.json").write_text("{}")
    with another_trainer(states.folder):
        drop_finished_state(run)
        assert states.newest_iteration() == 3  # a trainer is running
    drop_finished_state(run)
    assert states.newest_iteration() is None
    assert not (states.folder / METRICS).exists()


def test_a_state_that_must_be_kept_is_kept(states: StateFolder) -> None:
    with states.locked():
        states.save(3, payload(3))
        states.keep()
    (states.folder.parent / "run.json").write_text("{}")
    drop_finished_state(states.folder.parent)
    assert states.newest_iteration() == 3


RECIPE = {"seed": 0, "optimisation": {"epochs": 20}}


def test_a_changed_recipe_is_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    StateFolder(tmp_path / "state", IDENTITY, RECIPE).save(3, payload(3.0))
    changed = StateFolder(tmp_path / "state", IDENTITY | {"recipe": "89ab"}, RECIPE | {"optimisation": {"epochs": 30}})
    with pytest.raises(UserError) as raised:
        changed.load()
    text = str(raised.value)
    assert "belongs to another recipe of this run: optimisation.epochs was 20 and is 30 (recipe 0123, now 89ab)" in text
    assert f"restore it to continue, move {tmp_path / 'state'} away to start again, or rename what changed" in text
    assert "\n" not in text
    # For another run with another recipe, the message has both identities and the differences.
    other = StateFolder(tmp_path / "state", IDENTITY | {"recipe": "89ab", "run": "x/seed1"}, RECIPE | {"seed": 1})
    with pytest.raises(
        UserError, match=r"belongs to .*run digits/.* but this is .*run x/seed1.*\(seed was 0 and is 1\)"
    ):
        other.load()


def test_a_state_saved_without_its_recipe_is_refused_with_both_digests(tmp_path: Path) -> None:
    StateFolder(tmp_path / "state", IDENTITY).save(3, payload(3.0))
    changed = StateFolder(tmp_path / "state", IDENTITY | {"recipe": "89ab"}, RECIPE)
    with pytest.raises(UserError, match=r"recipe 0123.*but this is.*recipe 89ab"):
        changed.load()


def test_a_save_interrupted_by_ctrl_c_is_not_reported_as_a_full_disk(
    states: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    states.save(1, payload(1.0))

    def broken_off(*_: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("[enforce fail at inline_container.cc:668] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", broken_off)
    with pytest.raises(KeyboardInterrupt):
        states.save(2, payload(2.0))
    monkeypatch.undo()
    assert loaded_value(states) == 1
    assert not list(states.folder.glob("*.partial"))


def test_a_state_that_does_not_fit_in_memory_is_not_called_foreign(
    states: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    states.save(1, payload(1.0))

    def too_large(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8000000000 bytes")

    monkeypatch.setattr(torch, "load", too_large)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        states.load()
