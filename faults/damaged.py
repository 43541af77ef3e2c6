"""Training states that are damaged, foreign, old or malicious, and code that has changed since they were saved."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from faults.bench import DATA, TOTAL, Bench, make_recipe, newest, states
from faults.job import Preparation
from faults.row import Row, expect

Damage = Callable[[Path, random.Random], None]


def rows(bench: Bench, tries: int | None) -> list[Row]:
    """Damaged states, states that belong to something else, and states that contain code."""
    damages: dict[str, Damage] = {
        "truncated": _truncate,
        "bits flipped": _flip,
        "zero bytes long": _empty,
    }
    damaged = [
        Row(
            5,
            f"newest state {name}",
            "detected and named; the previous state is used; the same bits",
            [partial(_damaged, bench, damage, seed) for seed in range(tries or 3)],
        )
        for name, damage in damages.items()
    ]
    lost = Row(
        5,
        "both saved states damaged",
        "both named; restarts from step 0 and says so; the same bits",
        [partial(_lost, bench, seed) for seed in range(tries or 3)],
    )
    others: dict[str, Callable[[Bench, Path], str]] = {
        "another config": _other_recipe,
        "another run": _other_run,
        "other data": _other_data,
        "another version of the program": _other_version,
        "an old format": _old_format,
    }
    foreign = [
        Row(
            5,
            f"a state of {name}",
            "rejected, both identities named; the state is unchanged",
            [partial(attempt, bench)],
        )
        for name, attempt in others.items()
    ]
    code = Row(
        5,
        "the training code changed while the run was stopped",
        "reported in one line; both versions recorded in run.json",
        [partial(_other_code, bench)],
    )
    planted = Row(
        10,
        "a state with a pickle payload (within torch's archive, and bare)",
        "rejected; nothing is executed",
        [partial(_planted, bench, bare) for bare in (False, True)],
    )
    return [*damaged, lost, *foreign, code, planted]


def _truncate(path: Path, draw: random.Random) -> None:
    with path.open("rb+") as file:
        file.truncate(draw.randrange(1, path.stat().st_size))


def _flip(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(3):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def _empty(path: Path, _: random.Random) -> None:
    path.write_bytes(b"")


def _damaged(bench: Bench, damage: Damage, seed: int, folder: Path) -> str:
    output = bench.copy_halfway(folder)
    latest, before = states(output)
    damage(latest, random.Random(f"damage/{seed}"))
    job = bench.pretrain(output)
    resumed = f"resumes at step {int(before.name.split('-')[1])} of {TOTAL}"
    said = job.must_end(0, resumed, f"{latest.name}: damaged (its checksum does not match); passed over")
    bench.must_equal_reference(output)
    return said


def _lost(bench: Bench, seed: int, folder: Path) -> str:
    output = bench.copy_halfway(folder)
    for path in states(output):
        _flip(path, random.Random(f"{path.name}/{seed}"))
    names = [path.name for path in states(output)]
    said = bench.pretrain(output).must_end(0, *names, "is intact; starts again at step 0")
    bench.must_equal_reference(output)
    return said


def _refused(bench: Bench, output: Path, *texts: str, prepare: Preparation | None = None, **settings: Any) -> str:
    before = [path.read_bytes() for path in states(output)]
    said = bench.pretrain(output, prepare=prepare, **settings).must_refuse(*texts)
    expect([path.read_bytes() for path in states(output)] == before, "the states have changed")
    bench.must_go_on(output, newest(output))
    return said


def _other_recipe(bench: Bench, folder: Path) -> str:
    other = make_recipe({"learning_rate": 0.02})
    digests = f"(recipe {make_recipe().digest}, now {other.digest})"
    texts = ("optimisation.learning_rate was ", " and is 0.02", digests, "restore it to continue")
    return _refused(bench, bench.copy_halfway(folder), *texts, recipe=other)


def _other_run(bench: Bench, folder: Path) -> str:
    other = make_recipe(seed=7)
    return _refused(bench, bench.copy_halfway(folder), make_recipe().run, other.run, recipe=other)


def _other_data(bench: Bench, folder: Path) -> str:
    job = bench.prepare(DATA | {"train_limit": 65}, folder / "other", folder)
    job.must_end(0)
    stores = [json.loads((store / "store.json").read_text()) for store in (bench.store, folder / "other")]
    texts = [f"data {store['checksum'][:16]}" for store in stores]
    return _refused(bench, bench.copy_halfway(folder), *texts, store=folder / "other")


def _other_version(bench: Bench, folder: Path) -> str:
    from clever import __version__

    def change() -> None:
        from clever.pretraining import engine

        vars(engine)["__version__"] = "99.0.0"

    return _refused(bench, bench.copy_halfway(folder), f"version {__version__}", "version 99.0.0", prepare=change)


def _old_format(bench: Bench, folder: Path) -> str:
    output = bench.copy_halfway(folder)
    latest = states(output)[0]
    content = torch.load(latest, weights_only=True)
    del content["format"], content["identity"]["version"]
    content["identity"]["format"] = "1"
    kept = latest.read_bytes()
    latest.unlink()
    old = _named(output, latest, content)
    said = bench.pretrain(output).must_refuse(old.name, "has state format 1, this program reads format 3")
    expect(old.exists(), "the old state is gone")
    old.unlink()
    latest.write_bytes(kept)
    bench.must_go_on(output, newest(output))
    return said


def _other_code(bench: Bench, folder: Path) -> str:
    output = bench.copy_halfway(folder)

    def change() -> None:
        from clever.pretraining import code_history

        def training_sources(method: object) -> str:  # noqa: ARG001
            return "0123456789abcdef"

        code_history.training_sources = training_sources

    said = bench.pretrain(output, prepare=change).must_end(0, "the code has changed")
    entries = json.loads((output / "run.json").read_text())["trained_by"]
    found = [entry["from_step"] for entry in entries]
    expect(found == [0, newest(bench.halfway)], f"run.json lists code from steps {found}")
    expect(entries[1]["sources"] == "0123456789abcdef" != entries[0]["sources"], f"run.json lists {entries}")
    bench.must_equal_reference(output)
    return said


class _Trap:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def _planted(bench: Bench, bare: bool, folder: Path) -> str:
    output = bench.copy_halfway(folder)
    latest = states(output)[0]
    trap = folder / "sprung"
    if bare:
        content = pickle.dumps({"identity": {}, "payload": _Trap(trap)}, protocol=2)
        planted = latest.with_name(f"state-999999999-{hashlib.sha256(content).hexdigest()[:16]}.pt")
        planted.write_bytes(content)
    else:
        right = torch.load(latest, weights_only=True)
        planted = _named(output, latest.with_name("state-999999999-0.pt"), right | {"payload": _Trap(trap)})
    said = bench.pretrain(output).must_refuse(planted.name, "refused, it holds more than a training state")
    expect(not trap.exists(), "the code in the state was executed")
    planted.unlink()
    bench.must_go_on(output, newest(output))
    return said


def _named(output: Path, like: Path, content: object) -> Path:
    """Save ``content`` under a file name with the step of ``like`` and the checksum of ``content``."""
    written = output / "state" / "written"
    torch.save(content, written)
    digest = hashlib.sha256(written.read_bytes()).hexdigest()[:16]
    target = like.with_name(f"state-{like.name.split('-')[1]}-{digest}.pt")
    written.rename(target)
    return target
