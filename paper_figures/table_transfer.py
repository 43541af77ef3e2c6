"""Transfer to other labelled data sets: linear probe, logistic regression and fine-tuning."""

from __future__ import annotations

import re
from collections.abc import Sequence

from arguments import run_script
from grids import (
    Grid,
    Line,
    Measurement,
    Numbers,
    draw,
    elsewhere_table,
    found_configurations,
    labels_of,
    line_against_baseline,
    perturbation_note,
    published_elsewhere,
)
from names import part_rank, perturbation_rank
from summary import Configuration
from tables import Table

from clever.errors import UserError

PROTOCOL = re.compile(r"transfer_([a-z]+)\+(.+)")
"""The protocol of a record: the mode, then the data set, then the variant's name if there is one."""
MODES = {
    "linear": "linear probe",
    "logistic": "logistic regression (L-BFGS)",
    "finetune": "backbone and classifier fine-tuned",
}
METRICS = {"top1": "top-1 accuracy", "mean_class": "mean accuracy per class"}
ITEM = "ddcl_table_3"


def build(numbers: Numbers) -> tuple[list[Grid], list[Table]]:
    """One table per pre-training data set, mode, metric and perturbation, with a column per data set."""
    rows = found_configurations(numbers, lambda what: PROTOCOL.fullmatch(what.protocol) is not None)
    if not rows:
        raise UserError("no record of protocol transfer; add evaluations.transfer to the study")
    grids = []
    for data in sorted({row.data for row in rows}):
        here = [row for row in rows if row.data == data]
        recorded = {what for row, what in numbers.measured if row.data == data and PROTOCOL.fullmatch(what.protocol)}
        for mode, metric, perturbation in sorted(
            {_table(what) for what in recorded if what.metric in METRICS}, key=_rank
        ):
            wanted = {what for what in recorded if _table(what) == (mode, metric, perturbation)}
            columns = sorted({what.protocol for what in wanted})
            parts = sorted({what.part for what in wanted}, key=part_rank)
            lines = [
                line
                for row in here
                for part in parts
                if (line := _line(row, part, columns, metric, perturbation, numbers)) is not None
            ]
            grids.append(
                Grid(
                    title=f"Transfer, {MODES.get(mode, mode)}, {METRICS[metric]}, {perturbation}: from {data}",
                    caption=(
                        f"Pre-trained on {data}, trained and tested on each data set of the columns; {METRICS[metric]} "
                        "in percent, last epoch, mean ± standard deviation over seeds."
                    ),
                    label_heads=("backbone", "method", "augmentation", "part"),
                    columns=tuple(_target(protocol) for protocol in columns),
                    lines=tuple(lines),
                    compared="the method minus its baseline alone (whole vector)",
                    notes=(perturbation_note([perturbation]),),
                )
            )
    printed = published_elsewhere(numbers, ITEM, rows)
    heads = {
        Measurement(f"transfer_linear+{name}", ""): str(name) for name in dict.fromkeys(printed["evaluation_data"])
    }
    note = (
        "DDCL, the predecessor of CLeVER, top-1 accuracy of a linear probe on ResNet-50. Not comparable with numbers "
        "of other pre-training. For CLeVER: not published in the sources we have."
    )
    return grids, elsewhere_table("Published: Table 3 of DDCL", note, printed, heads)


def _match(protocol: str) -> re.Match[str]:
    match = PROTOCOL.fullmatch(protocol)
    assert match is not None
    return match


def _target(protocol: str) -> str:
    return _match(protocol)[2].replace("+", ", ")


def _table(what: Measurement) -> tuple[str, str, str]:
    return _match(what.protocol)[1], what.metric, what.perturbation


def _rank(table: tuple[str, str, str]) -> tuple[object, ...]:
    mode, metric, perturbation = table
    known = list(MODES)
    return (
        known.index(mode) if mode in MODES else len(known),
        list(METRICS).index(metric),
        perturbation_rank(perturbation),
    )


def _line(
    row: Configuration, part: str, columns: Sequence[str], metric: str, perturbation: str, numbers: Numbers
) -> Line | None:
    cells = [Measurement(protocol, part, perturbation, metric) for protocol in columns]
    if not any((row, cell) in numbers.measured for cell in cells):
        return None
    return line_against_baseline((*labels_of(row), part), row, cells)


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    draw(build, str(__doc__), argv)


if __name__ == "__main__":
    run_script(main)
