"""metrics.csv: one line per epoch, appended during the run and truncated when it resumes from an earlier state."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from clever.files import append_text, write_text


class MetricsFile:
    """An append-only CSV whose columns are fixed by its first row.

    Args:
        path: created with its first row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, columns: Sequence[str]) -> None:
        """Write only a header: the file of a run without epochs."""
        write_text(self.path, ",".join(columns) + "\n")

    def append(self, row: Mapping[str, object]) -> None:
        """Append one line and flush it to disk; raises UserError when it cannot be written."""
        header = self._header()
        text = io.StringIO()
        writer = csv.DictWriter(text, header or list(row), lineterminator="\n")
        if header is None:
            writer.writeheader()
        writer.writerow({key: _text(value) for key, value in row.items()})
        append_text(self.path, text.getvalue())

    def keep_epochs(self, epochs: int) -> None:
        """Drop everything after the first ``epochs`` epochs, including a truncated last line."""
        if not self.path.exists():
            return
        rows = self._rows()
        kept = [row for row in rows if (row.get("epoch") or "").isdigit() and None not in row.values()]
        kept = [row for row in kept if int(row["epoch"]) < epochs]
        if not kept:
            self.path.unlink()
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, list(kept[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        write_text(self.path, text.getvalue())

    def text(self) -> str:
        """The content of the file, empty if it does not exist; a training state keeps it."""
        return self.path.read_text(encoding="utf-8") if self.path.exists() else ""

    def restore(self, saved: str) -> bool:
        """Restore the file from the copy in a state; later lines are dropped.

        Returns:
            Whether lines in the state's copy were missing or changed.
        """
        found = self.path.read_bytes() if self.path.exists() else b""
        if found != saved.encode():
            if saved:
                write_text(self.path, saved)
            else:
                self.path.unlink()
        return not found.startswith(saved.encode())

    def _header(self) -> list[str] | None:
        if not self.path.exists():
            return None
        with self.path.open(encoding="utf-8", newline="") as file:
            return next(csv.reader(file), None)

    def _rows(self) -> list[dict[str, str]]:
        with self.path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


def _text(value: object) -> object:
    return f"{value:.8g}" if isinstance(value, float) else value
