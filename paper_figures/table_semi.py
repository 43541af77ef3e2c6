"""Semi-supervised learning: backbone and classifier fine-tuned on a small share of the labels."""

from __future__ import annotations

import re
from collections.abc import Sequence

from arguments import run_script
from grids import (
    Grid,
    Measurement,
    Numbers,
    draw,
    found_configurations,
    labels_of,
    line_against_baseline,
    perturbation_note,
)
from names import part_rank, perturbation_rank
from summary import Configuration
from tables import Table

from clever.errors import UserError

PROTOCOL = re.compile(r"semi([0-9.]+)(\+.*)?")
METRICS = {"top1": "top-1", "top5": "top-5"}


def build(numbers: Numbers) -> tuple[list[Grid], list[Table]]:
    """One table per data set, perturbation and metric, with a column for each share of the labels and each part."""
    rows = found_configurations(numbers, lambda what: PROTOCOL.fullmatch(what.protocol) is not None)
    if not rows:
        raise UserError("no record of protocol semi; add evaluations.semi to the study")
    grids = []
    for data in sorted({row.data for row in rows}):
        here = {what for row, what in numbers.measured if row.data == data and PROTOCOL.fullmatch(what.protocol)}
        for perturbation in sorted({what.perturbation for what in here}, key=perturbation_rank):
            for metric in [name for name in METRICS if any(what.metric == name for what in here)]:
                wanted = [what for what in here if (what.perturbation, what.metric) == (perturbation, metric)]
                columns = sorted(wanted, key=lambda what: (_share(what), what.protocol, part_rank(what.part)))
                grids.append(_grid(data, [row for row in rows if row.data == data], columns, perturbation, metric))
    return grids, []


def _share(what: Measurement) -> float:
    match = PROTOCOL.fullmatch(what.protocol)
    assert match is not None
    return float(match[1])


def _head(what: Measurement) -> str:
    variant = what.protocol.partition("+")[2]
    return f"{_share(what):g} %, {what.part}" + (f", {variant}" if variant else "")


def _grid(data: str, rows: list[Configuration], columns: list[Measurement], perturbation: str, metric: str) -> Grid:
    return Grid(
        title=f"Fine-tuned on a share of the labels, {METRICS[metric]}, {perturbation}: {data}",
        caption=(
            f"Pre-trained on {data}, then backbone and classifier fine-tuned on 1 %, 10 % or another share of its "
            "labelled training images; accuracy in percent, last epoch, mean ± standard deviation over seeds."
        ),
        label_heads=("backbone", "method", "augmentation"),
        columns=tuple(_head(what) for what in columns),
        lines=tuple(line_against_baseline(labels_of(row), row, columns) for row in rows),
        compared="the method minus its baseline alone (whole vector)",
        notes=(perturbation_note([perturbation]),),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    draw(build, str(__doc__), argv)


if __name__ == "__main__":
    run_script(main)
