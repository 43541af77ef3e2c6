"""Accuracies that others have published for the baselines, paired with what we measured.

They are not the paper's: ``published/reference_accuracies.csv`` has the tables of solo-learn, lightly, EquiMod, E-SSL
and MV-DHEL, each with its source. Use them to check a measured baseline. Training and probing rules differ between
sources; each row states its own.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from arguments import PUBLISHED_FOLDER
from published_values import REFERENCE_FILE, read_published_file

from clever.errors import UserError

REFERENCES = PUBLISHED_FOLDER / REFERENCE_FILE
PAIR_COLUMNS = (
    *("data", "backbone", "method", "augmentation", "protocol", "metric", "value", "seeds"),
    *("reference_method", "reference_protocol", "reference_epochs", "reference_batch_size", "reference_value"),
    *("source", "note"),
)


def read_references(path: Path = REFERENCES) -> pd.DataFrame:
    """The reference accuracies, in percent, with the published columns and ``batch_size``.

    ``value``, ``epochs`` and ``batch_size`` are float64 (the latter two NaN where the source states none). ``protocol``
    is ``linear`` (an offline probe), ``online_linear`` (a head trained with the backbone) or ``knn``; ``note`` has
    details.

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


def pair_with_references(records: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
    """Pairs of a measured accuracy and a reference of the same data set, backbone, baseline and metric, one per row.

    Measured: on unchanged images, of the whole representation and the last epoch, the mean over seeds. A method
    with an add-on (``simclr+clever``) is paired with its baseline and, if published, with the same add-on.
    Augmentation, schedule and protocol may differ; the columns and ``note`` give them.

    Args:
        records: from ``clever.results.records.read_records``.
        references: from ``read_references``.

    Returns:
        The columns ``PAIR_COLUMNS``, sorted by the measured row; empty if nothing has a reference.
    """
    chosen = records[
        (records["perturbation"] == "orig") & (records["part"] == "ALL") & (records["selection"] == "last")
    ]
    keys = ["data", "backbone", "method", "augmentation", "protocol", "metric"]
    measured = chosen.groupby(keys, as_index=False).agg(value=("value", "mean"), seeds=("value", "size"))
    measured["baseline"] = measured["method"].str.split("[+@]", regex=True).str[0]
    renamed = {column: f"reference_{column}" for column in ("method", "protocol", "epochs", "batch_size", "value")}
    printed = references.rename(columns=renamed)
    printed["baseline"] = printed["reference_method"].str.split("+").str[0]
    printed = printed[["data", "backbone", "baseline", "metric", *renamed.values(), "source", "note"]]
    pairs = measured.merge(printed, on=["data", "backbone", "baseline", "metric"])
    fitting = (pairs["reference_method"] == pairs["baseline"]) | (pairs["reference_method"] == pairs["method"])
    order = [*keys, "reference_protocol", "reference_epochs", "reference_batch_size", "source", "reference_value"]
    return pairs[fitting].sort_values(order)[list(PAIR_COLUMNS)].reset_index(drop=True)
