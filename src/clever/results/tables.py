"""CSV tables of a study: read strictly, written sorted."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clever.errors import UserError
from clever.files import write_text
from clever.parsing import foreign, require_regular
from clever.results.run_id import AXIS_PATTERN, VARIED_PATTERN
from clever.results.sums import check_sums

if TYPE_CHECKING:
    import pandas as pd

_NAMES = ("run", "data", "backbone", "method", "augmentation", "protocol", "part", "perturbation", "metric")
_PATTERNS = {
    "run": f"{VARIED_PATTERN}(/{VARIED_PATTERN})*",
    "method": VARIED_PATTERN,
    "augmentation": VARIED_PATTERN,
}
"""Patterns of the columns that may hold more than a plain name."""
_NUMBERS = {"seed": "int64", "n": "int64", "epoch": "int64", "value": "float64"}


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises UserError naming it."""
    with foreign(path, "cannot be read"):
        require_regular(path)
        return path.read_bytes()


def read_table(path: Path, columns: Sequence[str], *, verify: bool = True) -> pd.DataFrame:
    """Read a CSV as text, without missing values; with ``verify``, check it against the SHA256SUMS of its folder.

    Raises:
        UserError: the file is missing, empty, truncated, changed or not a CSV, or lacks one of ``columns``.
    """
    import pandas as pd  # every job imports this module, and only tables need it

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if verify:
        check_sums(path)
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            # strict: an unclosed quotation mark is an error, not a field as long as the rest of the file.
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
        raise UserError(f"{path}: the file has a header but no rows")
    # An interrupted copy leaves a truncated line, which pandas would pad.
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise UserError(f"{path}: line {number} has {len(row)} fields, but the header has {len(header)}")
    return pd.DataFrame(rows, columns=header, dtype=str)


def require_names(table: pd.DataFrame, path: Path) -> None:
    """Reject names with unexpected characters: in a file from elsewhere, they could contain markup or forge lines of a
    page.

    Raises:
        UserError: a name has characters other than letters, digits and ``_ . + -`` (a run's id also ``/``; a method,
            augmentation or run also one ``@option=value``).
    """
    for column in _NAMES:
        if column not in table:
            continue
        wrong = ~table[column].str.fullmatch(_PATTERNS.get(column, AXIS_PATTERN))
        if bool(wrong.any()):
            row = int(np.flatnonzero(wrong)[0])
            raise UserError(
                f"{path}: line {row + 2}: {column} is {table[column].iloc[row][:80]!r}; "
                "a name may contain only letters, digits and _ . + -"
            )


def to_numbers(table: pd.DataFrame, column: str, path: Path, *, whole: bool, may_be_empty: bool = False) -> pd.Series:
    """Convert a column of a text table to int64 (``whole``) or float64; an empty cell becomes NaN if it
    ``may_be_empty``.

    Raises:
        UserError: a value is not a number; the message names its line.
    """
    import pandas as pd  # every job imports this module, and only tables need it

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
    # The values of to_numeric are not used, because it does not read every decimal to the last bit.
    return text.replace("", "nan").astype("float64").astype("int64" if whole and not may_be_empty else "float64")


def require_unique(table: pd.DataFrame, key: Sequence[str], path: Path, shown: Sequence[str]) -> None:
    """Raise UserError for the first row whose ``key`` columns repeat an earlier row; the message names ``shown``."""
    repeated = table.duplicated(list(key))
    if bool(repeated.any()):
        row = int(np.flatnonzero(repeated)[0])
        what = " ".join(str(table[column].iloc[row]) for column in shown)
        raise UserError(f"{path}: line {row + 2} records a second value for {what}")


def tidy(
    frame: pd.DataFrame, columns: Sequence[str], key: Sequence[str], text: Collection[str] = ()
) -> pd.DataFrame:
    """The given columns with their types (those of ``text`` as text), sorted by key."""
    types = {name: "str" if name in text else _NUMBERS.get(name, "str") for name in columns}
    return frame[list(columns)].astype(types).sort_values(list(key), kind="stable", ignore_index=True)


def write_table(
    frame: pd.DataFrame, path: Path, columns: Sequence[str], key: Sequence[str], text: Collection[str] = ()
) -> None:
    """Write sorted rows with the shortest decimals that read back to the same float; the bytes are deterministic.

    Raises UserError when a column is missing or two rows have the same ``key``.
    """
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise UserError(f"{path} cannot be written: the table lacks the column {missing[0]!r}")
    table = tidy(frame, columns, key, text)
    repeated = table[table.duplicated(list(key))]
    if len(repeated):
        what = ", ".join(str(repeated.iloc[0][name]) for name in key)
        raise UserError(f"{path} cannot be written: two rows record {what}")
    write_text(path, table.to_csv(index=False, lineterminator="\n", na_rep="nan"))
