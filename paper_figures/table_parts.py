"""The parts of the representation: the whole vector, IR and EF of every method that has them, under perturbation."""

from __future__ import annotations

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
    perturbation_note,
)
from names import part_rank, perturbation_rank
from tables import Table

from clever.errors import UserError

PROTOCOL = "linear"
PARTS = {
    "IR_cut": "the first columns of the IR, as many as the EF has",
    "EF_cut": "the first columns of the EF, as many as the IR has",
    "IR_strict": "the IR of every block of a transformer, instead of the last block's only",
}


def build(numbers: Numbers) -> tuple[list[Grid], list[Table]]:
    """One table per data set, with a row for each part; then the published parts."""
    split = found_configurations(numbers, lambda what: what.protocol == PROTOCOL and what.part == "IR")
    if not split:
        raise UserError(
            f"no record of protocol {PROTOCOL} has the part IR: only methods with an IR and an EF (clever, ddcl) do"
        )
    grids = []
    for data in sorted({row.data for row in split}):
        here = [what for row, what in numbers.measured if row in split and row.data == data]
        here = [what for what in here if what.protocol == PROTOCOL and what.metric == "top1"]
        parts = sorted({what.part for what in here}, key=part_rank)
        perturbations = sorted({what.perturbation for what in here}, key=perturbation_rank)
        lines = []
        for row in split:
            for part in parts:
                keys = tuple((row, Measurement(PROTOCOL, part, name)) for name in perturbations)
                if row.data == data and any(key in numbers.measured for key in keys):
                    whole = tuple((row, Measurement(PROTOCOL, "ALL", name)) for name in perturbations)
                    lines.append(Line((*labels_of(row), part), keys, whole))
        special = [f"{part}: {words}" for part, words in PARTS.items() if part in parts]
        grids.append(
            Grid(
                title=f"Parts of the representation: {data}",
                caption=(
                    f"Linear probe on {data}, last epoch; top-1 accuracy in percent, mean ± standard deviation over "
                    "seeds. ALL: the whole vector; IR: invariant representation; EF: equivariant factor."
                ),
                label_heads=("backbone", "method", "augmentation", "part"),
                columns=tuple(perturbations),
                lines=tuple(lines),
                compared="the part minus ALL of the same runs",
                notes=(perturbation_note(perturbations), *([f"{'; '.join(special)}."] if special else [])),
            )
        )
    printed = numbers.published[numbers.published["item"].isin(("ddcl_table_3", "ddcl_table_4"))]
    same = printed[(printed["evaluation_data"] == printed["data"]) & ~printed["data"].isin({row.data for row in split})]
    names = sorted(set(same["perturbation"]), key=perturbation_rank)
    heads = {Measurement(PROTOCOL, "", name): name for name in names}
    note = (
        'DDCL, the predecessor of CLeVER, prints its invariant part alone ("DIR only", here IR) next to the whole '
        "vector. Not comparable with numbers on other data. For CLeVER: not published in the sources we have."
    )
    return grids, elsewhere_table("Published parts: DDCL", note, same, heads)


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    draw(build, str(__doc__), argv)


if __name__ == "__main__":
    run_script(main)
