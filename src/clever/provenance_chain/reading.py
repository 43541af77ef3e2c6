"""Read the files of a chain from the results folder of a study."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from clever.errors import UserError
from clever.parsing import decode_json, foreign, read_text
from clever.results.run_description import RunDescription, require_run


def study_folder(path: Path, kind: str) -> Path | None:
    """The study's results folder that contains ``path``, ``<folder>/<kind>/<five axes>/<file>``; None elsewhere."""
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


def collected_run(path: Path, run: str) -> RunDescription | None:
    """The entry of one run in a study's ``runs.json``; None if the file or the entry is missing."""
    if not path.is_file():
        return None
    entries = read_json(path, list)
    found = [entry for entry in entries if isinstance(entry, dict) and entry.get("run") == run]
    return require_run(found[0], str(path)) if found else None
