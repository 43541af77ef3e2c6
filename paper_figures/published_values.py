"""Reads and checks the values that the paper and others have published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from clever.errors import UserError
from clever.results.tables import read_table, to_numbers

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
"""The file with values published by others than the authors, in the folder of published values (see references.py)."""


def read_published(folder: Path) -> pd.DataFrame:
    """All values of the paper and its repositories below ``folder``, ``*.csv`` with the columns ``PUBLISHED_COLUMNS``.

    ``value``, ``std`` and ``epochs`` are float64 (NaN if the source states none). Baseline accuracies published by
    others (``REFERENCE_FILE``) are not included. Raises ``UserError`` for a row without a source: such a number must
    not be shown as published.
    """
    paths = sorted(path for path in folder.glob("*.csv") if path.name != REFERENCE_FILE)
    if not paths:
        raise UserError(f"{folder}: no *.csv with published values there")
    return pd.concat([read_published_file(path) for path in paths], ignore_index=True)


def read_published_file(path: Path) -> pd.DataFrame:
    """One file of published values, read as ``read_published`` does; columns beyond ``PUBLISHED_COLUMNS`` stay text."""
    table = read_table(path, PUBLISHED_COLUMNS)
    table["value"] = to_numbers(table, "value", path, whole=False)
    table["std"] = to_numbers(table, "std", path, whole=False, may_be_empty=True)
    table["epochs"] = to_numbers(table, "epochs", path, whole=True, may_be_empty=True)
    for column in ("item", "source", "exactness"):
        empty = table[column].str.strip() == ""
        if bool(empty.any()):
            raise UserError(f"{path}: line {int(np.flatnonzero(empty)[0]) + 2} has no {column}")
    return table
