"""Single bit flips, and deliberate changes, in every file that a number depends on."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from clever.data.store import content_checksum
from faults.bench import EPOCHS, Bench, make_recipe, metrics, newest, sha256, states
from faults.row import Row, expect

FLIPS = 200
PIECES = 2
"""The flips of one kind of file are divided among this many tries."""

EVALUATION = {"perturbations": ["orig"], "neighbours": [5]}


def rows(bench: Bench, tries: int | None) -> list[Row]:
    """Bit flips in each kind of file, then changes that a person or a tool might make."""
    refused = "rejected, the file named, or no number changes"
    kinds: list[tuple[str, str, Callable[[Bench, int, Path], str]]] = [
        ("the store's arrays (pretrain and evaluate)", refused, _arrays),
        ("store.json (pretrain and evaluate)", refused, _description),
        ("backbone.safetensors (evaluate)", refused, _backbone),
        ("run.json (evaluate and collect)", refused, _run),
        ("an evaluation's JSON (collect)", refused, _evaluation),
        ("a finished run's metrics.csv (collect)", refused, _finished_metrics),
        ("metrics.csv of an interrupted run", "restored from the training state, every row unchanged", _metrics),
    ]
    flips = [
        Row(12, f"{FLIPS} single bit flips: {name}", expected, [partial(flip, bench, n) for n in range(PIECES)][:tries])
        for name, expected, flip in kinds
    ]
    changes: list[tuple[str, Sequence[Callable[[Bench, Path], str]]]] = [
        ("a third of the images' bytes flipped, labels reversed, the mean 0.1 higher", (_third, _reversed, _mean)),
        ("run.json of another `ir_dim` and another seed", (_other_ir_dim, _other_seed)),
        ("the backbone of another run", (_other_backbone,)),
    ]
    made = [
        Row(12, name, "rejected, with both values or checksums", [partial(change, bench) for change in some][:tries])
        for name, some in changes
    ]
    waiting = Row(
        12,
        "metrics.csv of an interrupted run deleted, cut, a digit changed",
        "reported, and restored from the training state, every row unchanged",
        [partial(_interrupted, bench, how) for how in ("deleted", "cut", "changed")][:tries],
    )
    threads = Row(
        12,
        "resumed with a different number of threads",
        "rejected, with both numbers; with --accept-other-threads, run.json lists each part",
        [partial(_threads, bench)],
    )
    return [*flips, *made, waiting, threads]


@dataclass(frozen=True)
class _Results:
    """A finished and evaluated run and its store, which the tries damage."""

    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def run(self) -> Path:
        return self.folder / "runs" / make_recipe().run

    @property
    def evaluation(self) -> Path:
        return self.folder / "evaluations" / make_recipe().run / "knn.json"

    def evaluate(self) -> tuple[int, str]:
        """Evaluate; the records go to a separate file."""
        words = ["evaluate", "--options", json.dumps({"knn": EVALUATION}), "--run", self.run, "--store", self.store]
        return _clever(*words, "--output-folder", self.folder / "again", "--again", "--device", "cpu")

    def pretrain(self, output: Path, *more: object) -> tuple[int, str]:
        """Train the run."""
        words = ["pretrain", "--recipe", make_recipe().canonical(), "--store", self.store, "--output", output]
        return _clever(*words, "--device", "cpu", "--threads", "1", *more)

    def collect(self) -> tuple[int, str]:
        """Collect the evaluation and the run."""
        folder = self.folder / "collected"
        words = ["collect", "--evaluations", self.evaluation, "--runs", self.run, "--output", folder]
        return _clever(*words)

    def numbers(self, command: str) -> object:
        """The numbers that a command has measured or collected, as bytes and values."""
        if command == "evaluate":
            return json.loads((self.folder / "again" / "knn.json").read_text())["records"]
        if command == "pretrain":
            return sha256(self.folder / "trained" / "backbone.safetensors"), metrics(self.folder / "trained")
        return [(self.folder / "collected" / name).read_bytes() for name in ("records.csv", "curves.csv", "runs.json")]


def _clever(*words: object) -> tuple[int, str]:
    """Run a command in this process, which serves this try only; return its exit status and standard error."""
    from clever.cli import main

    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = main([str(word) for word in words])
    expect("Traceback" not in said.getvalue(), f"a traceback: {said.getvalue()[-600:]}")
    return status, said.getvalue()


def _results(bench: Bench, folder: Path) -> _Results:
    made = _Results(folder)
    shutil.copytree(bench.store, made.store)
    shutil.copytree(bench.reference, made.run)
    status, said = made.evaluate()
    expect(status == 0, said)
    made.evaluation.parent.mkdir(parents=True)
    shutil.copy(folder / "again" / "knn.json", made.evaluation)
    status, said = made.collect()
    expect(status == 0, said)
    return made


def _flip_each(
    bench: Bench, piece: int, folder: Path, kind: str, files: Callable[[_Results], list[Path]], commands: list[str]
) -> str:
    """Flip one bit, run the commands, flip it back: each must fail and name the file, or give the same numbers."""
    made = _results(bench, folder)
    if "pretrain" in commands:
        shutil.copytree(bench.reference, folder / "trained")
    right = {command: made.numbers(command) for command in commands}
    calls: dict[str, Callable[[], tuple[int, str]]] = {
        "evaluate": made.evaluate,
        "collect": made.collect,
        "pretrain": lambda: made.pretrain(folder / "trained"),
    }
    targets = files(made)
    lengths = [path.stat().st_size for path in targets]
    draw = random.Random(f"flips/{kind}/{piece}")
    first, harmless = "", 0
    for _ in range(FLIPS // PIECES):
        (path,) = draw.choices(targets, lengths)
        content = path.read_bytes()
        flipped = bytearray(content)
        place, bit = draw.randrange(len(flipped)), draw.randrange(8)
        flipped[place] ^= 1 << bit
        path.write_bytes(flipped)
        for command in commands:
            status, said = calls[command]()
            if status == 0:
                expect(made.numbers(command) == right[command], f"{path.name}, byte {place}, bit {bit}: silent")
                harmless += 1
                continue
            line = said.strip().splitlines()[-1]
            # A damaged file of the store may also be named by its folder.
            named = path.name in line or str(path.parent) in line
            expect(status == 2 and line.startswith("error: ") and named, f"{path.name}, byte {place}: {line}")
            first = first or line
        path.write_bytes(content)
    expect(first, "none was refused")
    return f"{first} (and no number changed in {harmless} harmless ones)"


def _arrays(bench: Bench, piece: int, folder: Path) -> str:
    def files(made: _Results) -> list[Path]:
        return sorted(made.store.glob("*.npy"))

    return _flip_each(bench, piece, folder, "arrays", files, ["pretrain", "evaluate"])


def _description(bench: Bench, piece: int, folder: Path) -> str:
    files = lambda made: [made.store / "store.json"]  # noqa: E731
    return _flip_each(bench, piece, folder, "store.json", files, ["pretrain", "evaluate"])


def _backbone(bench: Bench, piece: int, folder: Path) -> str:
    files = lambda made: [made.run / "backbone.safetensors"]  # noqa: E731
    return _flip_each(bench, piece, folder, "backbone", files, ["evaluate"])


def _run(bench: Bench, piece: int, folder: Path) -> str:
    files = lambda made: [made.run / "run.json"]  # noqa: E731
    return _flip_each(bench, piece, folder, "run.json", files, ["evaluate", "collect"])


def _evaluation(bench: Bench, piece: int, folder: Path) -> str:
    files = lambda made: [made.evaluation]  # noqa: E731
    return _flip_each(bench, piece, folder, "evaluation", files, ["collect"])


def _finished_metrics(bench: Bench, piece: int, folder: Path) -> str:
    files = lambda made: [made.run / "metrics.csv"]  # noqa: E731
    return _flip_each(bench, piece, folder, "metrics.csv", files, ["collect"])


def _metrics(bench: Bench, piece: int, folder: Path) -> str:
    """A run with all steps done but without outputs, so that a start needs no training time."""
    made = _Results(folder)
    shutil.copytree(bench.store, made.store)
    status, said = made.pretrain(folder / "run", "--keep-state")
    expect(status == 0 and newest(folder / "run") > 0, said)
    path = folder / "run" / "state" / "metrics.csv"
    content, right = path.read_bytes(), metrics(folder / "run")
    expect(len(right) == EPOCHS, f"{len(right)} rows")
    draw = random.Random(f"flips/state/{piece}")
    first = ""
    for _ in range(FLIPS // PIECES):
        flipped = bytearray(content)
        place, bit = draw.randrange(len(flipped)), draw.randrange(8)
        flipped[place] ^= 1 << bit
        path.write_bytes(flipped)
        status, said = made.pretrain(folder / "run", "--keep-state")
        lines = [line for line in said.splitlines() if "was changed or damaged; it is restored" in line]
        expect(status == 0 and len(lines) == 1, f"byte {place}, bit {bit}: status {status}, {said[-300:]}")
        expect((folder / "run" / "metrics.csv").read_bytes() == content, f"byte {place}, bit {bit}: another file")
        first = first or lines[0]
    return first


def _must_refuse(made: _Results, commands: Sequence[str], *texts: str) -> str:
    line = ""
    for command in commands:
        status, said = made.pretrain(made.folder / "trained") if command == "pretrain" else getattr(made, command)()
        line = said.strip().splitlines()[-1] if said.strip() else ""
        expect(status == 2 and all(text in line for text in texts), f"{command}: status {status}, {line}")
    return line


def _third(bench: Bench, folder: Path) -> str:
    made = _results(bench, folder)
    path = made.store / "train_images.npy"
    images = np.load(path)
    images.reshape(-1)[: images.size // 3] ^= 0xFF
    np.save(path, images)
    return _must_refuse(made, ["pretrain", "evaluate"], "train_images.npy: sha256 is", "was written")


def _reversed(bench: Bench, folder: Path) -> str:
    made = _results(bench, folder)
    path = made.store / "train_labels.npy"
    np.save(path, np.load(path)[::-1].copy())
    return _must_refuse(made, ["pretrain", "evaluate"], "train_labels.npy: sha256 is", "was written")


def _mean(bench: Bench, folder: Path) -> str:
    made = _results(bench, folder)
    path = made.store / "store.json"
    info = json.loads(path.read_text())
    info["mean"] = [value + 0.1 for value in info["mean"]]
    path.write_text(json.dumps(info))
    _must_refuse(made, ["pretrain", "evaluate"], "store.json: does not match its checksum")
    # With a matching checksum, the store is valid, but it is not the data set that the run was trained on.
    info.pop("content_sha256")
    path.write_text(json.dumps(info | {"checksum": content_checksum(info)}))
    return _must_refuse(made, ["evaluate"], "is not that of the data of")


def _changed_run(bench: Bench, folder: Path, texts: Sequence[str], change: Callable[[dict[str, Any]], None]) -> str:
    made = _results(bench, folder)
    path = made.run / "run.json"
    run = json.loads(path.read_text())
    change(run)
    path.write_text(json.dumps(run))
    return _must_refuse(made, ["evaluate", "collect"], "run.json: ", *texts)


def _other_ir_dim(bench: Bench, folder: Path) -> str:
    def change(run: dict[str, Any]) -> None:
        run["ir_dim"] = 100

    return _changed_run(bench, folder, ["ir_dim is 100, but its recipe gives 204"], change)


def _other_seed(bench: Bench, folder: Path) -> str:
    def change(run: dict[str, Any]) -> None:
        run["recipe"]["seed"] = 7

    return _changed_run(bench, folder, ["seed0, but its recipe gives ", "seed7"], change)


def _other_backbone(bench: Bench, folder: Path) -> str:
    made = _results(bench, folder)
    other = make_recipe(seed=7).model_copy(update={"method_name": "untrained", "method": None})
    words = ["pretrain", "--recipe", other.canonical(), "--store", made.store, "--output", folder / "other"]
    status, said = _clever(*words, "--device", "cpu")
    expect(status == 0, said)
    shutil.copy(folder / "other" / "backbone.safetensors", made.run)
    return _must_refuse(made, ["evaluate"], "backbone.safetensors: is not the backbone of", "run.json says")


def _interrupted(bench: Bench, how: str, folder: Path) -> str:
    output = bench.copy_halfway(folder)
    path = output / "state" / "metrics.csv"
    lines = path.read_text().splitlines(keepends=True)
    if how == "deleted":
        path.unlink()
    elif how == "cut":
        path.write_text(lines[0])
    else:
        row = next(csv.reader([lines[1]]))
        path.write_text(lines[0] + lines[1].replace(row[2], f"{float(row[2]) + 1}") + "".join(lines[2:]))
    said = bench.pretrain(output).must_end(0, "metrics.csv: was changed or damaged; it is restored")
    bench.must_equal_reference(output)
    return said


def _threads(bench: Bench, folder: Path) -> str:
    output = bench.copy_halfway(folder)
    before = [path.read_bytes() for path in states(output)]
    made = _Results(folder)
    shutil.copytree(bench.store, made.store)
    status, said = made.pretrain(output, "--threads", "2")
    line = said.strip().splitlines()[-1]
    expect(
        status == 2 and "was trained with threads = 1, this process has threads = 2" in line,
        f"status {status}: {said[-300:]}",
    )
    expect([path.read_bytes() for path in states(output)] == before, "the states have changed")
    status, said = made.pretrain(output, "--threads", "2", "--accept-other-threads")
    expect(status == 0 and "threads 1 so far, 2 from here on" in said, f"status {status}: {said[-300:]}")
    parts = [
        (part["threads"], part["from_step"]) for part in json.loads((output / "run.json").read_text())["trained_by"]
    ]
    expect(parts == [(1, 0), (2, newest(bench.halfway))], f"run.json lists {parts}")
    return line
