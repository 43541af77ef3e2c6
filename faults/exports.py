"""Exports that must be rejected: of an unfinished or damaged run, or to a path that already exists."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from faults.bench import Bench, sha256
from faults.job import Job
from faults.row import Row, Try, expect

Spoil = Callable[[Bench, Path], str]
"""Prepares ``run`` and perhaps ``exported`` in a folder; returns a text that the command must print."""


def rows(bench: Bench, tries: int | None) -> list[Row]:
    """Incomplete runs, then targets that already exist."""
    runs: list[Try] = [partial(_refused, bench, spoil) for spoil in (_unfinished, _flipped, _truncated, _edited)]
    targets: list[Try] = [partial(_refused, bench, spoil) for spoil in (_full_folder, _file)]
    return [
        Row(
            15,
            "an unfinished or damaged run: `clever export`",
            "one line names the file; nothing is written",
            runs[:tries],
        ),
        Row(
            15,
            "a target that has content, or is a file: `clever export`",
            "one line names it; it is unchanged",
            targets[:tries],
        ),
    ]


def _refused(bench: Bench, spoil: Spoil, folder: Path) -> str:
    message = spoil(bench, folder)
    before = _content(folder)
    job = Job(["export", "--run", folder / "run", "--to", folder / "exported"], folder.with_name("export.log"))
    said = job.must_refuse(message)
    expect(_content(folder) == before, f"the folder changed: {sorted(_content(folder))}, before {sorted(before)}")
    return said


def _content(folder: Path) -> dict[str, str]:
    """Checksum of every file below a folder, by its path."""
    return {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*") if path.is_file()}


def _unfinished(bench: Bench, folder: Path) -> str:
    bench.copy_halfway(folder)
    return "holds neither run.json nor clever.json"


def _finished(bench: Bench, folder: Path) -> Path:
    return Path(shutil.copytree(bench.reference, folder / "run"))


def _flipped(bench: Bench, folder: Path) -> str:
    weights = _finished(bench, folder) / "backbone.safetensors"
    content = bytearray(weights.read_bytes())
    content[random.Random("export").randrange(len(content) // 2, len(content))] ^= 1
    weights.write_bytes(content)
    return "backbone.safetensors: its SHA-256 is "


def _truncated(bench: Bench, folder: Path) -> str:
    weights = _finished(bench, folder) / "backbone.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    return "backbone.safetensors: its SHA-256 is "


def _edited(bench: Bench, folder: Path) -> str:
    description = _finished(bench, folder) / "run.json"
    text = description.read_text(encoding="utf-8")
    description.write_text(text.replace('"separation_ratio": 0.8', '"separation_ratio": 0.5'), encoding="utf-8")
    return "run.json: recipe_digest is "


def _full_folder(bench: Bench, folder: Path) -> str:
    _finished(bench, folder)
    (folder / "exported").mkdir()
    (folder / "exported" / "mine.txt").write_text("mine", encoding="utf-8")
    return "exported: exists and is not an empty folder"


def _file(bench: Bench, folder: Path) -> str:
    _finished(bench, folder)
    (folder / "exported").write_text("mine", encoding="utf-8")
    return "exported: exists and is not an empty folder"
