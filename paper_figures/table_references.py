"""Measured accuracies compared with those that others have published for the same baseline on the same data."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from arguments import add_records, add_runs, check_suffixes, make_parser, run_script
from names import METRICS, NOT_PUBLISHED, seeds_label
from published_values import REFERENCE_FILE
from references import PAIR_COLUMNS, pair_with_references, read_references
from table_1 import UNHEALTHY_MARK
from tables import Row, Table, to_latex, to_markdown

from clever.files import write_text
from clever.results.records import read_records
from clever.results.run_description import read_runs, unhealthy_runs
from clever.results.run_id import PIXELS, UNTRAINED

SUFFIXES = (".md", ".csv", ".tex")
LABEL_HEADS = ("backbone", "what", "protocol", "values")
VALUE_HEADS = ("epochs", "batch")
NOT_STATED = "n. s."
CSV_HEADS = (*PAIR_COLUMNS, "epochs", "batch_size", "healthy")
DIFFER = (
    "Protocols differ: each published row has its own augmentation, schedule and probe "
    "(online_linear: a head trained with the backbone; linear: a probe on the finished backbone; knn: no training). "
    "Ours are probed after the last epoch. A difference is a failure to reproduce only if all of these agree; the "
    "studies of workflow/recipes have the published hyper-parameters."
)


def compare(records: pd.DataFrame, references: pd.DataFrame, runs: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The pairs of ``references.pair_with_references``, with our row's schedule and whether its runs were healthy.

    Columns ``CSV_HEADS``; ``epochs`` and ``batch_size`` are NaN, and ``healthy`` is empty, if ``runs`` lacks them.
    """
    pairs = pair_with_references(records[(records["method"] != UNTRAINED)], references)
    known = {str(run["run"]): run for run in runs}
    unhealthy = unhealthy_runs(runs)
    epochs, batches, healthy = [], [], []
    for row in pairs.to_dict("records"):
        prefix = "/".join(str(row[name]) for name in ("data", "backbone", "method", "augmentation")) + "/"
        ours = [run for name, run in known.items() if name.startswith(prefix)]
        epochs.append(_common([run.get("epochs") for run in ours]))
        batches.append(_common([_batch_size(run) for run in ours]))
        healthy.append("" if not ours else "no" if any(str(run["run"]) in unhealthy for run in ours) else "yes")
    return pairs.assign(epochs=epochs, batch_size=batches, healthy=healthy)[list(CSV_HEADS)]


def _batch_size(run: Mapping[str, Any]) -> object:
    recipe = run.get("recipe")
    optimisation = recipe.get("optimisation") if isinstance(recipe, dict) else None
    return optimisation.get("batch_size") if isinstance(optimisation, dict) else None


def _common(values: Sequence[object]) -> float:
    """The value shared by all runs; NaN if they differ or lack it."""
    return float(str(values[0])) if values and values[0] is not None and len(set(values)) == 1 else math.nan


def build_tables(compared: pd.DataFrame, records: pd.DataFrame) -> list[Table]:
    """One table per data set of the records; a table without references says so in a note."""
    return [_table(str(data), compared[compared["data"] == data], records) for data in sorted(set(records["data"]))]


def _table(data: str, pairs: pd.DataFrame, records: pd.DataFrame) -> Table:
    metrics = [name for name in METRICS if name in set(pairs["metric"])]
    lines: list[Row] = []
    sources: list[str] = []
    keys = ["backbone", "method", "augmentation"]
    for key, group in pairs.groupby(keys, sort=True):
        backbone, method, augmentation = (str(word) for word in key)
        for protocol, ours in group.groupby("protocol", sort=True):
            row = ours.iloc[0]
            mark = f" {UNHEALTHY_MARK}" if row["healthy"] == "no" else ""
            what = f"{method}, {augmentation}{mark}"
            labels = (backbone, what, str(protocol), f"ours, {seeds_label(int(ours['seeds'].max()))}")
            cells = [_count(row["epochs"]), _count(row["batch_size"])]
            by_metric = ours.drop_duplicates("metric").set_index("metric")["value"]
            cells += [f"{by_metric[name]:.1f}" if name in by_metric.index else "–" for name in metrics]
            lines.append(Row(labels, tuple(cells), "ours"))
        # Our kNN and linear-probe rows have the same references; list them once.
        columns = ["reference_method", "reference_protocol", "reference_epochs", "reference_batch_size", "source"]
        once = group.drop_duplicates([*columns, "metric", "reference_value", "note"])
        for printed, rows in once.groupby([*columns, "note"], sort=False, dropna=False):
            name, published_protocol, epochs, batch, source, note = (str(word) for word in printed)
            if source not in sources:
                sources.append(source)
            label = f"published ({sources.index(source) + 1}): {note}"
            cells = [_count(epochs), _count(batch)]
            for metric in metrics:
                values = sorted(set(rows["reference_value"][rows["metric"] == metric]))
                cells.append(", ".join(f"{value:g}" for value in values) or "–")
            lines.append(Row((backbone, name, published_protocol, label), tuple(cells), "published"))
    notes = [DIFFER] if lines else []
    if any(UNHEALTHY_MARK in line.labels[1] for line in lines):
        notes.append(f"{UNHEALTHY_MARK} Some runs were not healthy; see table_1.")
    notes += [f"({number}) {source}." for number, source in enumerate(sources, start=1)]
    measured = records[(records["data"] == data) & (records["method"] != UNTRAINED) & (records["backbone"] != PIXELS)]
    covered = {
        (str(backbone), str(method)) for backbone, method in zip(pairs["backbone"], pairs["method"], strict=True)
    }
    wanted = {(str(backbone), str(method)) for backbone, method in measured[["backbone", "method"]].to_numpy()}
    lacking = sorted(f"{method} with {backbone}" for backbone, method in wanted - covered)
    if lacking:
        notes.append(f"{'; '.join(lacking)}: {NOT_PUBLISHED} for this data set and backbone.")
    return Table(
        title=f"Measured and published accuracies of the baselines: {data}",
        caption=(
            f"Data: {data}, unchanged test images, the whole representation, last epoch; accuracy in percent, mean "
            f"over seeds. {NOT_STATED}: not stated. Published rows come from other libraries, not from the paper."
        ),
        label_heads=LABEL_HEADS,
        value_heads=(*VALUE_HEADS, *metrics),
        rows=tuple(lines),
        notes=tuple(notes),
    )


def _count(value: object) -> str:
    number = float(str(value))
    return NOT_STATED if math.isnan(number) else f"{number:.0f}"


def to_csv(compared: pd.DataFrame) -> str:
    """The same pairs, tidy and unrounded."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, CSV_HEADS, lineterminator="\n")
    writer.writeheader()
    for row in compared.to_dict("records"):
        writer.writerow({str(name): "" if pd.isna(value) else value for name, value in row.items()})
    return stream.getvalue()


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    parser = make_parser(str(__doc__), SUFFIXES)
    add_records(parser)
    add_runs(parser)
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, SUFFIXES)
    records = read_records(arguments.records)
    runs = read_runs(arguments.runs) if arguments.runs else []
    compared = compare(records, read_references(arguments.published / REFERENCE_FILE), runs)
    tables = build_tables(compared, records)
    for output in arguments.output:
        if output.suffix == ".csv":
            write_text(output, to_csv(compared))
        else:
            write_text(output, to_markdown(tables) if output.suffix == ".md" else to_latex(tables))


if __name__ == "__main__":
    run_script(main)
