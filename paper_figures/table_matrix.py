"""The matrix: every method of a study compared with its baseline alone, with paired differences over seeds."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from arguments import add_protocol, add_records, add_runs, check_suffixes, make_parser, run_script
from differences import Difference, paired_difference
from names import METRICS, PERTURBATIONS, PROTOCOLS, method_label, perturbation_rank, reference_of, seeds_label
from tables import Kind, Row, Table, to_latex, to_markdown

from clever.errors import UserError
from clever.files import write_text
from clever.results.records import read_records
from clever.results.run_description import read_runs, unhealthy_runs
from clever.results.run_id import PIXELS, UNTRAINED

SUFFIXES = (".md", ".csv", ".tex")
LABEL_HEADS = ("backbone", "augmentation", "method", "seeds")
GROUP = ["data", "backbone", "augmentation", "method"]
CSV_HEADS = (*GROUP, "reference", "perturbation", "mean", "std", "seeds", "difference", "low", "high", "verdict")
UNHEALTHY_MARK = "‡"
NOTHING = "–"


def chosen_records(records: pd.DataFrame, protocol: str, part: str, metric: str) -> pd.DataFrame:
    """The last-epoch records of one protocol, part and metric. Raises ``UserError`` where there are none."""
    chosen = records[
        (records["protocol"] == protocol)
        & (records["part"] == part)
        & (records["metric"] == metric)
        & (records["selection"] == "last")
    ]
    if chosen.empty:
        raise UserError(f"no record of protocol, part, metric = {protocol} {part} {metric}")
    return chosen


def compare(chosen: pd.DataFrame) -> pd.DataFrame:
    """One row per method and perturbation with the columns ``CSV_HEADS``, including controls, in the table's order.

    ``difference``, ``low``, ``high`` are NaN, and ``verdict`` is empty, if there is nothing to compare with.
    """
    groups = {key: group[["seed", "value"]] for key, group in chosen.groupby([*GROUP, "perturbation"], sort=False)}
    rows = []
    for key, values in groups.items():
        data, backbone, augmentation, method, perturbation = (str(word) for word in key)
        reference = reference_of(method)
        baseline = groups.get((data, backbone, augmentation, reference, perturbation))
        found = None if reference == method or baseline is None else paired_difference(values, baseline)
        difference = found or Difference(math.nan, math.nan, math.nan, 0)
        rows.append(
            {
                "data": data,
                "backbone": backbone,
                "augmentation": augmentation,
                "method": method,
                "reference": reference if found else "",
                "perturbation": perturbation,
                "mean": values["value"].mean(),
                "std": values["value"].std(ddof=1),
                "seeds": len(values),
                "difference": difference.mean,
                "low": difference.low,
                "high": difference.high,
                "verdict": difference.verdict if found and found.seeds > 1 else "",
            }
        )
    table = pd.DataFrame(rows, columns=list(CSV_HEADS))
    # Controls first, then each baseline alone followed by its add-ons; baselines in the order of the records.
    table["rank"] = [
        (backbone != PIXELS, method != UNTRAINED, reference_of(method), method != reference_of(method), method)
        for backbone, method in zip(table["backbone"], table["method"], strict=True)
    ]
    table["place"] = [perturbation_rank(name) for name in table["perturbation"]]
    order = ["data", "rank", "backbone", "augmentation", "place"]
    return table.sort_values(order, kind="stable").drop(columns=["rank", "place"]).reset_index(drop=True)


@dataclass(frozen=True)
class Wording:
    """The words of a table of comparisons: its title, its caption, the number of decimals and the unit."""

    title: str
    caption: str
    decimals: int = 1
    unit: str = "in points"


def build_tables(compared: pd.DataFrame, unhealthy: dict[str, str], wording: Wording) -> list[Table]:
    """One table per data set; ``unhealthy`` maps run ids to what was wrong with them."""
    return [_table(str(data), rows, unhealthy, wording) for data, rows in compared.groupby("data", sort=True)]


def _table(data: str, rows: pd.DataFrame, unhealthy: dict[str, str], wording: Wording) -> Table:
    perturbations = sorted(set(rows["perturbation"]), key=perturbation_rank)
    lines: list[Row] = []
    marked: dict[str, str] = {}
    compared = 0
    for key, group in rows.groupby(["backbone", "augmentation", "method"], sort=False):
        backbone, augmentation, method = (str(word) for word in key)
        cells: list[str] = []
        by_name = {str(row["perturbation"]): row for _, row in group.iterrows()}
        for name in perturbations:
            row = by_name.get(name)
            cells += (
                [NOTHING, NOTHING]
                if row is None
                else [format_mean(row, wording.decimals), format_difference(row, wording.decimals)]
            )
            compared += row is not None and bool(row["verdict"])
        prefix = f"{data}/{backbone}/{method}/{augmentation}/"
        unhealthy_here = {run: reason for run, reason in unhealthy.items() if run.startswith(prefix)}
        marked |= unhealthy_here
        control = method == UNTRAINED
        kind: Kind = "control" if control else "ours"
        label = method_label(backbone, method) + (f" {UNHEALTHY_MARK}" if unhealthy_here else "")
        lines.append(Row((backbone, augmentation, label, seeds_label(int(group["seeds"].max()))), tuple(cells), kind))
    heads = [head for name in perturbations for head in (name, f"{name}: Δ [95 %]")]
    known = [f"{name}: {PERTURBATIONS[name]}" for name in perturbations if name in PERTURBATIONS]
    notes = ["Perturbations: " + "; ".join(known) + "."] if known else []
    notes += difference_notes(compared, wording.unit)
    notes += unhealthy_notes(marked)
    return Table(
        title=f"{wording.title}: {data}",
        caption=f"Data: {data}. {wording.caption}",
        label_heads=LABEL_HEADS,
        value_heads=tuple(heads),
        rows=tuple(lines),
        notes=tuple(notes),
    )


def difference_notes(compared: int, unit: str, what: str = "the method minus its baseline alone") -> list[str]:
    """Explain a column of differences; ``compared`` is the number of its intervals."""
    notes = [
        f"Δ: {what}, {unit}, paired by seed: mean and 95 % confidence interval of "
        "Student's t over seeds. An asterisk marks intervals that exclude 0."
    ]
    if compared:
        notes.append(
            f"The {compared} intervals are not corrected for their number: about {0.05 * compared:.0f} would exclude 0 "
            "if nothing differed."
        )
    return notes


def unhealthy_notes(marked: Mapping[str, str]) -> list[str]:
    """What was wrong with the marked runs, by run id; nothing if there are none."""
    if not marked:
        return []
    reasons = "; ".join(f"{run}: {reason}" for run, reason in sorted(marked.items()))
    return [f"{UNHEALTHY_MARK} Some runs were not healthy; these numbers say little about the method. {reasons}."]


def format_mean(row: pd.Series, decimals: int) -> str:
    """A row of :func:`compare` as mean ± standard deviation over seeds."""
    spread = float(row["std"])
    return f"{row['mean']:.{decimals}f}" + ("" if math.isnan(spread) else f" ± {spread:.{decimals}f}")


def format_difference(row: pd.Series, decimals: int) -> str:
    """A row of :func:`compare` as difference with its interval; a dash if there is nothing to compare with."""
    if not row["reference"]:
        return NOTHING
    mean, low, high = (f"{row[name]:+.{decimals}f}" for name in ("difference", "low", "high"))
    if math.isnan(float(row["low"])):
        return mean
    mark = " *" if row["verdict"] in ("higher", "lower") else ""
    return f"{mean} [{low}, {high}]{mark}"


def to_csv(compared: pd.DataFrame) -> str:
    """The same numbers, tidy and unrounded."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, CSV_HEADS, lineterminator="\n")
    writer.writeheader()
    for row in compared.to_dict("records"):
        writer.writerow({str(name): "" if is_nan(value) else value for name, value in row.items()})
    return stream.getvalue()


def is_nan(value: object) -> bool:
    """Whether a cell is a missing number."""
    return isinstance(value, float) and math.isnan(value)


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    parser = make_parser(str(__doc__), SUFFIXES)
    add_records(parser)
    add_runs(parser)
    add_protocol(parser)
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, SUFFIXES)
    chosen = chosen_records(read_records(arguments.records), arguments.protocol, arguments.part, arguments.metric)
    compared = compare(chosen)
    unhealthy = unhealthy_runs(read_runs(arguments.runs)) if arguments.runs else {}
    what = f"{PROTOCOLS.get(arguments.protocol, arguments.protocol)}, {METRICS.get(arguments.metric, arguments.metric)}"
    wording = Wording(
        title=f"{what}, every method compared with its baseline",
        caption=(
            f"Accuracy in percent, representation: {arguments.part}, last epoch of the probe; "
            "mean ± standard deviation over seeds."
        ),
    )
    write_comparison(arguments.output, compared, unhealthy, wording)


def write_comparison(
    outputs: Sequence[Path], compared: pd.DataFrame, unhealthy: dict[str, str], wording: Wording
) -> None:
    """Write the comparison to every output in the format of its suffix."""
    tables = build_tables(compared, unhealthy, wording)
    for output in outputs:
        if output.suffix == ".csv":
            write_text(output, to_csv(compared))
        else:
            write_text(output, to_markdown(tables) if output.suffix == ".md" else to_latex(tables))


if __name__ == "__main__":
    run_script(main)
