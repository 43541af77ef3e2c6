"""Reading and checking what a study leaves behind: records.csv, curves.csv, runs.json and the published values."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clever.errors import UserError

RECORD_COLUMNS = (
    "run",
    "data",
    "backbone",
    "method",
    "augmentation",
    "seed",
    "protocol",
    "part",
    "perturbation",
    "metric",
    "value",
    "n",
    "selection",
    "epoch",
    "commit",
    "recipe_digest",
    "data_checksum",
)
_NAMES = ("run", "data", "backbone", "method", "augmentation", "protocol", "part", "perturbation", "metric")
CURVE_COLUMNS = ("run", "data", "backbone", "method", "augmentation", "seed", "epoch", "metric", "value")
PUBLISHED_COLUMNS = (
    "item",
    "source",
    "exactness",
    "data",
    "evaluation_data",
    "backbone",
    "method",
    "method_printed",
    "augmentation",
    "perturbation",
    "epochs",
    "protocol",
    "part",
    "metric",
    "value",
    "std",
    "note",
)
REFERENCE_FILE = "reference_accuracies.csv"
"""In the folder of the published values: what others than the authors have published (see references.py)."""
NAME = r"[A-Za-z0-9][A-Za-z0-9_.+/-]*"
"""What names in records and curves look like; a run's id has slashes between them."""
SELECTIONS = ("last", "best")
HEALTHY = "ok"


def _read_text_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A CSV as text, nothing taken for a missing value; the columns asked for, and at least one row, are there."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            # strict: a quotation mark that nobody closes is an error here, not a field as long as the file.
            lines = list(csv.reader(stream, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable CSV ({error})") from None
    if not lines:
        raise UserError(f"{path}: the file is empty; a header and at least one row are needed")
    header, rows = lines[0], lines[1:]
    missing = [column for column in columns if column not in header]
    if missing:
        raise UserError(f"{path}: missing column(s) {', '.join(missing)}; found {', '.join(header)}")
    if not rows:
        raise UserError(f"{path}: there is a header but no row")
    # pandas would fill up a line that is cut short, as an interrupted copy leaves it.
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise UserError(f"{path}: line {number} has {len(row)} fields, the header {len(header)}")
    return pd.DataFrame(rows, columns=header, dtype=str)


def _check_names(table: pd.DataFrame, columns: Sequence[str], path: Path) -> None:
    """Refuse what no name of ours looks like: in a foreign file it may be markup, or forge lines of a page."""
    for column in columns:
        wrong = ~table[column].str.fullmatch(NAME)
        if bool(wrong.any()):
            row = int(np.flatnonzero(wrong)[0])
            raise UserError(
                f"{path}: line {row + 2}: {column} is {table[column].iloc[row][:80]!r}; a name has letters, digits and "
                "_ . + - only"
            )


def _to_numbers(table: pd.DataFrame, column: str, path: Path, *, whole: bool, may_be_empty: bool = False) -> pd.Series:
    """One column as numbers; the first value that is none is named with its line."""
    text = table[column].str.strip()
    numbers = pd.to_numeric(text, errors="coerce")
    wrong = ~np.isfinite(numbers)
    if whole:
        wrong |= numbers % 1 != 0
    if may_be_empty:
        wrong &= text != ""
    if bool(wrong.any()):
        row = int(np.flatnonzero(wrong)[0])
        kind = "a whole number" if whole else "a finite number"
        raise UserError(f"{path}: line {row + 2}: {column} is '{table[column].iloc[row]}', which is not {kind}")
    return numbers.astype("int64") if whole and not may_be_empty else numbers.astype("float64")


def read_records(path: Path) -> pd.DataFrame:
    """A study's measured numbers, one a row, with the columns ``RECORD_COLUMNS``.

    ``value`` is float64, ``seed``, ``n`` and ``epoch`` are int64, all else is text. Raises ``UserError`` for a missing,
    empty or malformed file and for a number that is recorded twice.
    """
    table = _read_text_table(path, RECORD_COLUMNS)
    _check_names(table, _NAMES, path)
    table["value"] = _to_numbers(table, "value", path, whole=False)
    for column in ("seed", "n", "epoch"):
        table[column] = _to_numbers(table, column, path, whole=True)
    unknown = ~table["selection"].isin(SELECTIONS)
    if bool(unknown.any()):
        row = int(np.flatnonzero(unknown)[0])
        raise UserError(f"{path}: line {row + 2}: selection is '{table['selection'].iloc[row]}', not last or best")
    identity = ["data", "backbone", "method", "augmentation", "seed", "protocol", "part", "perturbation", "metric"]
    repeated = table.duplicated([*identity, "selection"])
    if bool(repeated.any()):
        row = int(np.flatnonzero(repeated)[0])
        what = " ".join(
            str(table[column].iloc[row])
            for column in ("run", "protocol", "part", "perturbation", "metric", "selection")
        )
        raise UserError(f"{path}: line {row + 2} records a second value for {what}")
    return table


def read_curves(path: Path) -> pd.DataFrame:
    """A study's training curves, one value a row, with the columns ``CURVE_COLUMNS``.

    ``value`` stays text, because the metric ``health`` is text; see ``numeric_curves`` and ``health_of_curves``.
    """
    table = _read_text_table(path, CURVE_COLUMNS)
    _check_names(table, ("run", "data", "backbone", "method", "augmentation", "metric"), path)
    for column in ("seed", "epoch"):
        table[column] = _to_numbers(table, column, path, whole=True)
    return table


def numeric_curves(curves: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The curves that are numbers, ``value`` as float64; a value that a method lacks (empty) is left out."""
    numbers = curves[(curves["metric"] != "health") & (curves["value"].str.strip() != "")].copy()
    parsed = pd.to_numeric(numbers["value"], errors="coerce")
    # A diverging run may well have written nan or inf: such points are no error, they just cannot be drawn.
    wrong = parsed.isna() & ~numbers["value"].str.strip().str.lower().isin(("nan", "inf", "-inf"))
    if bool(wrong.any()):
        first = numbers[wrong].iloc[0]
        raise UserError(f"{path}: {first['metric']} of {first['run']}, epoch {first['epoch']}: '{first['value']}'")
    numbers["value"] = parsed
    finite: pd.DataFrame = numbers[np.isfinite(parsed)]
    return finite


def health_of_curves(curves: pd.DataFrame) -> dict[str, tuple[int, str]]:
    """For every run that reported trouble: the first epoch in which it did, and what it said."""
    told = curves[(curves["metric"] == "health") & ~curves["value"].isin(("", HEALTHY))].sort_values("epoch")
    first = told.drop_duplicates("run")
    return {str(run): (int(epoch), str(text)) for run, epoch, text in first[["run", "epoch", "value"]].to_numpy()}


def read_runs(path: Path) -> list[dict[str, Any]]:
    """The run.json objects of a study, sorted by run id. Raises ``UserError`` where the file is no list of them."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        runs = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable JSON ({error})") from None
    if not isinstance(runs, list) or not all(isinstance(run, dict) and isinstance(run.get("run"), str) for run in runs):
        raise UserError(f"{path}: must be a list of objects, each with the key 'run'")
    return sorted(runs, key=lambda run: str(run["run"]))


def unhealthy_runs(runs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Run id to reason, for every run whose health is not ``ok``; a run that says nothing counts as unhealthy."""
    return {str(run["run"]): str(run.get("health") or "not recorded") for run in runs if run.get("health") != HEALTHY}


def read_published(folder: Path) -> pd.DataFrame:
    """All values of the paper and its repositories below ``folder``, ``*.csv`` with the columns ``PUBLISHED_COLUMNS``.

    ``value``, ``std`` and ``epochs`` are float64 (NaN where the source states none). What others have published of the
    baselines (``REFERENCE_FILE``) is not among them. Raises ``UserError`` for a row without a source: such a number may
    not be shown as published.
    """
    paths = sorted(path for path in folder.glob("*.csv") if path.name != REFERENCE_FILE)
    if not paths:
        raise UserError(f"{folder}: no *.csv with published values there")
    return pd.concat([read_published_file(path) for path in paths], ignore_index=True)


def read_published_file(path: Path) -> pd.DataFrame:
    """One file of published values, as ``read_published`` says; columns beyond ``PUBLISHED_COLUMNS`` stay text."""
    table = _read_text_table(path, PUBLISHED_COLUMNS)
    table["value"] = _to_numbers(table, "value", path, whole=False)
    table["std"] = _to_numbers(table, "std", path, whole=False, may_be_empty=True)
    table["epochs"] = _to_numbers(table, "epochs", path, whole=True, may_be_empty=True)
    for column in ("item", "source", "exactness"):
        empty = table[column].str.strip() == ""
        if bool(empty.any()):
            raise UserError(f"{path}: line {int(np.flatnonzero(empty)[0]) + 2} has no {column}")
    return table
