"""Curves: the metrics of every run and epoch, collected from each ``metrics.csv`` into ``curves.csv``."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clever.errors import UserError
from clever.parsing import foreign
from clever.results.run_description import HEALTHY
from clever.results.run_id import RunId
from clever.results.tables import read_bytes, read_table, require_names, tidy, to_numbers, write_table

if TYPE_CHECKING:
    import pandas as pd

CURVE_COLUMNS = ("run", "data", "backbone", "method", "augmentation", "seed", "epoch", "metric", "value")
CURVE_KEY = ("data", "backbone", "method", "augmentation", "seed", "metric", "epoch")
HEALTH = "health"
"""The only metric that is text: ``HEALTHY``, or the way in which the run had collapsed at the end of the epoch."""


def collect_curves(paths: Iterable[Path], runs: Sequence[Mapping[str, Any]] = ()) -> pd.DataFrame:
    """Collect the ``metrics.csv`` files of some runs (in the folders ``.../<run id>/``) in one tidy frame.

    Columns: run, data, backbone, method, augmentation, seed, epoch, metric, value (text: decimals that read back to
    the same float, or the text of ``health``). Empty cells (a term that the method lacks) yield no row. A resumed run
    may have written an epoch twice; the later line counts. ``runs`` are the descriptions of the runs
    (``collect_runs``), which contain the checksum of each file.

    Raises UserError, naming file, line and column, for a cell that is not a number, and for a file whose checksum
    differs from the one that its run recorded.
    """
    import pandas as pd  # every job imports this module, and only tables need it

    rows: dict[tuple[str, int, str], tuple[object, ...]] = {}
    checksums = {str(run["run"]): run.get("metrics_sha256") for run in runs}
    for path in sorted(paths):
        identity = RunId.parse("/".join(path.absolute().parent.parts[-5:]))
        expected, found = checksums.get(identity.run), hashlib.sha256(read_bytes(path)).hexdigest()
        if expected is not None and found != expected:
            raise UserError(
                f"{path}: was changed or damaged: its SHA-256 is {found[:12]}, run.json says {str(expected)[:12]}; "
                "restore the file, or train the run again"
            )
        axes = (identity.run, identity.data, identity.backbone, identity.method, identity.augmentation, identity.seed)
        for epoch, metric, value in _metrics(path):
            rows[identity.run, epoch, metric] = (*axes, epoch, metric, value)
    frame = pd.DataFrame(list(rows.values()), columns=list(CURVE_COLUMNS))
    return tidy(frame, CURVE_COLUMNS, CURVE_KEY, text=("value",))


def write_curves(frame: pd.DataFrame, path: Path) -> None:
    """Write ``curves.csv``; see `clever.results.tables.write_table`."""
    write_table(frame, path, CURVE_COLUMNS, CURVE_KEY, text=("value",))


def read_curves(path: Path) -> pd.DataFrame:
    """A study's training curves, one value per row, with the columns ``CURVE_COLUMNS``.

    ``value`` stays text, because the metric ``health`` is text; see ``numeric_curves`` and ``health_of_curves``.
    """
    table = read_table(path, CURVE_COLUMNS)
    require_names(table, path)
    for column in ("seed", "epoch"):
        table[column] = to_numbers(table, column, path, whole=True)
    return table


def numeric_curves(curves: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The numeric curves, with ``value`` as float64; empty values (of a term that the method lacks) are dropped."""
    import pandas as pd  # every job imports this module, and only tables need it

    numbers = curves[(curves["metric"] != HEALTH) & (curves["value"].str.strip() != "")].copy()
    parsed = pd.to_numeric(numbers["value"], errors="coerce")
    # A diverging run may have written nan or inf. Such points are valid, but they cannot be drawn.
    wrong = parsed.isna() & ~numbers["value"].str.strip().str.lower().isin(("nan", "inf", "-inf"))
    if bool(wrong.any()):
        first = numbers[wrong].iloc[0]
        raise UserError(f"{path}: {first['metric']} of {first['run']}, epoch {first['epoch']}: '{first['value']}'")
    numbers["value"] = parsed
    finite: pd.DataFrame = numbers[np.isfinite(parsed)]
    return finite


def health_of_curves(curves: pd.DataFrame) -> dict[str, tuple[int, str]]:
    """For every run that reported a problem: the first epoch with a problem, and its text."""
    unhealthy = curves[(curves["metric"] == HEALTH) & ~curves["value"].isin(("", HEALTHY))].sort_values("epoch")
    first = unhealthy.drop_duplicates("run")
    return {str(run): (int(epoch), str(text)) for run, epoch, text in first[["run", "epoch", "value"]].to_numpy()}


def _metrics(path: Path) -> Iterable[tuple[int, str, str]]:
    """Yield (epoch, metric, value) for every non-empty cell of a ``metrics.csv``."""
    with foreign(path, "is not a metrics.csv"):
        yield from _cells(path)


def _cells(path: Path) -> Iterable[tuple[int, str, str]]:
    lines = csv.reader(read_bytes(path).decode("utf-8", errors="replace").splitlines())
    header = next(lines, [])
    if "epoch" not in header:
        raise UserError(f"{path} is not a metrics.csv: its first line must name the columns, including 'epoch'")
    for cells in lines:
        if len(cells) != len(header):
            raise UserError(f"{path}, line {lines.line_num}: {len(cells)} cells, but {len(header)} columns")
        row = dict(zip(header, cells, strict=True))
        if not row["epoch"].isdecimal() or len(row["epoch"]) > 18:
            raise UserError(f"{path}, line {lines.line_num}: epoch is {row['epoch']!r}, which is not a whole number")
        epoch = int(row["epoch"])
        for metric, cell in row.items():
            if cell and metric != "epoch":
                yield epoch, metric, cell if metric == HEALTH else repr(_number(path, lines.line_num, metric, cell))


def _number(path: Path, line: int, column: str, cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise UserError(f"{path}, line {line}: {column} is {cell!r}, which is not a number") from None
