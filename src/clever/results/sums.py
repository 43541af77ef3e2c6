"""SHA256SUMS: the checksums of the collected files in the same folder, as ``sha256sum --check`` reads them."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path

from clever.errors import UserError
from clever.files import write_text
from clever.parsing import foreign, read_text

SUMS = "SHA256SUMS"


COLLECTED = ("curves.csv", "records.csv", "runs.json")
"""The files that ``clever collect`` writes."""


def write_sums(folder: Path, names: Sequence[str]) -> None:
    """Write the checksums of some files of a folder; for a compressed file (``.gz``), the checksum of the unpacked
    content.

    Raises:
        UserError: a file cannot be read, or the checksums cannot be written.
    """
    lines = [f"{hashlib.sha256(_unpacked(folder / name)).hexdigest()}  {name}\n" for name in sorted(names)]
    write_text(folder / SUMS, "".join(lines))


def write_sums_of_committed(folder: Path) -> None:
    """Write the checksums of those of the ``COLLECTED`` files that a committed study has.

    Raises:
        UserError: the study has none of these files, or :func:`write_sums` fails.
    """
    present = [name for name in COLLECTED if (folder / name).is_file() or _compressed(folder / name).is_file()]
    if not present:
        raise UserError(f"{folder}: has none of {', '.join(COLLECTED)}; give the folder of a study that was measured")
    write_sums(folder, present)


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


def _compressed(path: Path) -> Path:
    return path.with_name(f"{path.name}.gz")


def _unpacked(path: Path) -> bytes:
    if path.is_file():
        return path.read_bytes()
    with foreign(_compressed(path), "cannot be unpacked"):
        return gzip.decompress(_compressed(path).read_bytes())
