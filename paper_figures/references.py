"""Accuracies that others have published for the baselines, and what we measured beside them.

They are not the paper's: ``published/reference_accuracies.csv`` holds the tables of solo-learn, lightly, EquiMod, E-SSL
and MV-DHEL, each with its source. Whoever measures a baseline looks there whether it is as good as elsewhere; nearly
every one was trained and probed by rules of its own, which stand in the row.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from arguments import PUBLISHED_FOLDER
from published_values import PUBLISHED_COLUMNS, REFERENCE_FILE, read_published_file

from clever.errors import UserError

REFERENCES = PUBLISHED_FOLDER / REFERENCE_FILE
REFERENCE_COLUMNS = (*PUBLISHED_COLUMNS, "batch_size")
BESIDE_COLUMNS = (
    *("data", "backbone", "method", "augmentation", "protocol", "metric", "value", "seeds"),
    *("reference_method", "reference_protocol", "reference_epochs", "reference_batch_size", "reference_value"),
    *("source", "note"),
)


def read_references(path: Path = REFERENCES) -> pd.DataFrame:
    """The reference accuracies, in percent, with the columns ``REFERENCE_COLUMNS``.

    ``value``, ``epochs`` and ``batch_size`` are float64 (the latter two NaN where the source states none). ``protocol``
    is ``linear`` (an offline probe), ``online_linear`` (a head trained with the backbone) or ``knn``; ``note`` says
    more.

    Raises:
        UserError: the file is absent or malformed, or a row has no source.
    """
    table = read_published_file(path)
    if "batch_size" not in table:
        raise UserError(f"{path}: missing column batch_size")
    numbers = pd.to_numeric(table["batch_size"], errors="coerce")
    wrong = table.loc[numbers.isna() & (table["batch_size"] != ""), "batch_size"]
    if not wrong.empty:
        raise UserError(f"{path}: line {wrong.index[0] + 2}: batch_size is '{wrong.iloc[0]}', which is not a number")
    return table.assign(batch_size=numbers)


def references_beside(records: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
    """Every measured accuracy with every reference of the same data set, backbone, baseline and metric, one pair a row.

    Measured: on unchanged images, of the whole representation and the last epoch, the mean over seeds. A method
    with an add-on (``simclr+clever``) stands beside its baseline and, where there is one, beside the same add-on.
    Nothing is said about whether augmentation, schedule or protocol agree: the columns and ``note`` do.

    Args:
        records: as of ``clever.results.records.read_records``.
        references: as of ``read_references``.

    Returns:
        The columns ``BESIDE_COLUMNS``, sorted by the measured row; empty where nothing has a reference.
    """
    chosen = records[
        (records["perturbation"] == "orig") & (records["part"] == "ALL") & (records["selection"] == "last")
    ]
    keys = ["data", "backbone", "method", "augmentation", "protocol", "metric"]
    measured = chosen.groupby(keys, as_index=False).agg(value=("value", "mean"), seeds=("value", "size"))
    measured["baseline"] = measured["method"].str.split("+").str[0]
    renamed = {column: f"reference_{column}" for column in ("method", "protocol", "epochs", "batch_size", "value")}
    printed = references.rename(columns=renamed)
    printed["baseline"] = printed["reference_method"].str.split("+").str[0]
    printed = printed[["data", "backbone", "baseline", "metric", *renamed.values(), "source", "note"]]
    pairs = measured.merge(printed, on=["data", "backbone", "baseline", "metric"])
    fitting = (pairs["reference_method"] == pairs["baseline"]) | (pairs["reference_method"] == pairs["method"])
    order = [*keys, "reference_protocol", "reference_epochs", "reference_batch_size", "source", "reference_value"]
    return pairs[fitting].sort_values(order)[list(BESIDE_COLUMNS)].reset_index(drop=True)
