"""Which code trained a run: one entry for the code that began it, and one for each that took it up changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import clever
from clever.provenance import source_commit

_FOLDERS = ("augmentation", "backbones", "baselines", "equivariance", "pretraining")
_FILES = (
    *("data/decoding.py", "data/loading.py", "data/pairs.py", "data/store.py"),
    *("buffers.py", "randomness.py", "spirograph.py", "threediebench.py"),
)

Entry = Mapping[str, Any]


def training_sources() -> str:
    """First 16 hexadecimal digits of a SHA-256 over the names and contents of all files that train."""
    root = Path(clever.__file__).parent
    files = [path for folder in _FOLDERS for path in (root / folder).glob("*.py")] + [root / name for name in _FILES]
    whole = hashlib.sha256()
    for path in sorted(files):
        whole.update(path.relative_to(root).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:16]


def extended(history: Sequence[Entry], step: int) -> list[Entry]:
    """The history with the code of this process, where that is not the last one in it already.

    An entry holds ``git_commit``, ``git_dirty``, ``sources`` (:func:`training_sources`) and ``from_step``.

    Args:
        history: of the state that is taken up; empty at the start of a run.
        step: from which this process trains.
    """
    commit, dirty = source_commit()
    now = {"git_commit": commit, "git_dirty": dirty, "sources": training_sources()}
    if history and all(history[-1][key] == value for key, value in now.items()):
        return list(history)
    return [*history, now | {"from_step": step}]


def described(entry: Entry) -> str:
    """An entry in a few words."""
    changes = " with uncommitted changes" if entry["git_dirty"] else ""
    return f"commit {entry['git_commit'][:12]}{changes}, sources {entry['sources']}"
