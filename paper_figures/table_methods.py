"""Comparison of methods: every baseline and add-on on unchanged images, as in Table 8 of the paper's first version."""

from __future__ import annotations

from collections.abc import Sequence

from arguments import run_script
from grids import (
    Grid,
    Measurement,
    Numbers,
    draw,
    elsewhere_table,
    found_configurations,
    labels_of,
    line_against_baseline,
)
from tables import Table

from clever.errors import UserError

PROTOCOL = "linear"
METRICS = {"top1": "top-1", "top5": "top-5"}
ROTATED = ("caug", "caug_plus")
"""Training augmentations with rotated images, the "(R)" of Table 8."""


def build(numbers: Numbers) -> tuple[list[Grid], list[Table]]:
    """One table per data set, then Table 8 as printed, unless all its rows are next to ours."""
    rows = found_configurations(numbers, lambda what: what == Measurement(PROTOCOL))
    if not rows:
        raise UserError(f"no record of protocol {PROTOCOL}, part ALL, perturbation orig, metric top1")
    metrics = [m for m in METRICS if any((row, Measurement(PROTOCOL, metric=m)) in numbers.measured for row in rows)]
    grids = []
    for data in sorted({row.data for row in rows}):
        lines = []
        for row in rows:
            if row.data == data:
                rotated = "yes" if numbers.augmentation_of(row) in ROTATED else "no"
                cells = [Measurement(PROTOCOL, metric=metric) for metric in metrics]
                lines.append(line_against_baseline((*labels_of(row), rotated), row, cells))
        grids.append(
            Grid(
                title=f"Comparison of methods: {data}",
                caption=(
                    f"Linear probe on unchanged images of {data}, the whole representation, last epoch; accuracy in "
                    "percent, mean ± standard deviation over seeds."
                ),
                label_heads=("backbone", "method", "augmentation", "rotated views"),
                columns=tuple(METRICS[metric] for metric in metrics),
                lines=tuple(lines),
                compared="the method minus its baseline alone",
            )
        )
    printed = numbers.published[numbers.published["item"] == "table_8"]
    heads = {Measurement(PROTOCOL, metric=metric): head for metric, head in METRICS.items()}
    note = (
        "As printed, for every method of the table; (R): pre-trained on rotated images. Not comparable with numbers on "
        "other data. ± : spread as printed; the number of repeats is not stated."
    )
    return grids, elsewhere_table("Published: Table 8 of the paper's first version", note, printed, heads)


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    draw(build, str(__doc__), argv)


if __name__ == "__main__":
    run_script(main)
