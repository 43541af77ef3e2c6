"""The files of a chain: where a study keeps them, read and checked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from clever.errors import UserError
from clever.parsing import decode_json, foreign, read_text

_RUN_KEYS = ("run", "recipe", "recipe_digest", "data_checksum", "git_commit")


def study_folder(path: Path, kind: str) -> Path | None:
    """The results folder of a study that ``path`` lies in, ``<folder>/<kind>/<five axes>/<file>``; None elsewhere."""
    above = path.absolute().parents
    if len(above) < 7 or above[5].name != kind:
        return None
    return above[6] if path.is_absolute() else Path(os.path.relpath(above[6]))


def read_json(path: Path, kind: type = dict) -> Any:
    """A JSON file that holds a ``kind``, dict or list. Raises UserError naming the file."""
    with foreign(path, "cannot be read"):
        text = read_text(path)
    content = decode_json(text, path, "is not JSON")
    if not isinstance(content, kind):
        raise UserError(f"{path}: must hold a JSON {'object' if kind is dict else 'list'}")
    return content


def require_run(run: object, where: str) -> dict[str, Any]:
    """``run``, which must describe one. Raises UserError naming ``where`` and the key that is wrong."""
    for key in _RUN_KEYS:
        kind = dict if key == "recipe" else str
        if not isinstance(run, dict) or not isinstance(run.get(key), kind):
            raise UserError(f"{where}: does not describe a run, the key {key} is missing or of another type")
    assert isinstance(run, dict)
    return run


def collected_run(path: Path, run: str) -> dict[str, Any] | None:
    """What a study's ``runs.json`` says of one run; None where there is no such file or entry."""
    if not path.is_file():
        return None
    entries = read_json(path, list)
    found = [entry for entry in entries if isinstance(entry, dict) and entry.get("run") == run]
    return require_run(found[0], str(path)) if found else None
