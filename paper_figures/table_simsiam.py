"""The SimSiam family: SimSiam, DDCL and CLeVER on SimSiam under perturbation, next to the table of DDCL's README."""

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
    perturbation_note,
    published_elsewhere,
)
from names import perturbation_rank, reference_of
from tables import Table

from clever.errors import UserError

PROTOCOL = "linear"
BASELINE = "simsiam"
ITEM = "ddcl_readme"


def build(numbers: Numbers) -> tuple[list[Grid], list[Table]]:
    """One table per data set; the printed table follows unless its rows are next to ours."""
    rows = [
        row
        for row in found_configurations(numbers, lambda what: what.protocol == PROTOCOL and what.part == "ALL")
        if reference_of(row.method) == BASELINE
    ]
    if not rows:
        raise UserError(f"no record of protocol {PROTOCOL} is of a method with the baseline {BASELINE}")
    grids = []
    for data in sorted({row.data for row in rows}):
        here = [what for row, what in numbers.measured if row in rows and row.data == data]
        here = [what for what in here if (what.protocol, what.part, what.metric) == (PROTOCOL, "ALL", "top1")]
        perturbations = sorted({what.perturbation for what in here}, key=perturbation_rank)
        grids.append(
            Grid(
                title=f"The SimSiam family under test-time perturbations: {data}",
                caption=(
                    f"Linear probe on {data}, the whole representation, last epoch; top-1 accuracy in percent, mean ± "
                    "standard deviation over seeds. simsiam+clever is what DDCL's README calls DDCL w/ L_PReg."
                ),
                label_heads=("backbone", "method", "augmentation"),
                columns=tuple(perturbations),
                lines=tuple(
                    line_against_baseline(
                        labels_of(row), row, [Measurement(PROTOCOL, perturbation=name) for name in perturbations]
                    )
                    for row in rows
                    if row.data == data
                ),
                compared="the method minus SimSiam alone",
                notes=(perturbation_note(perturbations),),
            )
        )
    printed = published_elsewhere(numbers, ITEM, rows)
    names = sorted(set(printed["perturbation"]), key=perturbation_rank)
    heads = {Measurement(PROTOCOL, "", name): name for name in names}
    note = "ResNet-50 on ImageNet-100; not comparable with numbers on other data or backbones."
    return grids, elsewhere_table("Published: DDCL's README", note, printed, heads)


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    draw(build, str(__doc__), argv)


if __name__ == "__main__":
    run_script(main)
