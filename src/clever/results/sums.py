"""SHA256SUMS: the checksums of the collected files in the same folder, as ``sha256sum --check`` reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from clever.errors import UserError
from clever.files import write_text
from clever.parsing import foreign, read_text

SUMS = "SHA256SUMS"


def write_sums(folder: Path, names: Sequence[str]) -> None:
    """Write the checksums of some files of a folder. Raises UserError when they cannot be written."""
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(names)]
    write_text(folder / SUMS, "".join(lines))


def check_sums(path: Path) -> None:
    """Compare a file with its line in the SHA256SUMS of its folder; a file without a line is not checked.

    Raises:
        UserError: the file has changed since it was collected.
    """
    sums = path.with_name(SUMS)
    if not sums.is_file():
        return
    with foreign(sums, "cannot be read", "collect again"):
        lines = [line.partition("  ") for line in read_text(sums).splitlines()]
    recorded = {name: digest for digest, _, name in lines}.get(path.name)
    if recorded is None:
        return
    with foreign(path, "cannot be read"):
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != recorded:
        raise UserError(
            f"{path}: was changed or damaged: its SHA-256 is {found[:12]}, {SUMS} says {recorded[:12]}; collect again, "
            f"or remove its line from {SUMS} after an intended change"
        )
