"""Ablation of the loss terms: the contrast on the whole vector or on the IR, orthogonality, head-norm regulariser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arguments import run_script
from grids import (
    Grid,
    Measurement,
    Numbers,
    baseline_of,
    draw,
    found_configurations,
    labels_of,
    line_against_baseline,
    perturbation_note,
)
from names import perturbation_rank
from summary import Configuration
from tables import Table

from clever.errors import UserError
from clever.results.run_id import setting

PROTOCOL = "linear"
WANTED = (PROTOCOL, "ALL")
SPLITTING = ("clever", "ddcl")
"""The add-ons with an IR and an EF; this table is about their terms."""
ABSENT = "–"
WEIGHTS = ("orthogonality_weight", "head_norm_weight")


def terms(equivariance: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """What the contrast compares, and the weights of orthogonality and head norm; None for other add-ons."""
    name = equivariance.get("name")
    if name == "none":
        return "whole vector", ABSENT, ABSENT
    if name not in SPLITTING:
        return None
    orthogonality, head_norm = (equivariance.get(weight, 0.0) for weight in WEIGHTS)
    return "IR", f"{orthogonality:g}" if orthogonality else ABSENT, f"{head_norm:g}" if head_norm else ABSENT


def build(numbers: Numbers) -> tuple[list[Grid], list[Table]]:
    """One table per data set; a row for each combination of terms that was trained."""
    rows = [
        (row, combination)
        for row in found_configurations(numbers, lambda what: (what.protocol, what.part) == WANTED)
        if (combination := _terms_of(row, numbers)) is not None and (setting(row.method) or WEIGHTS)[0] in WEIGHTS
    ]
    split = {(row.data, row.backbone, row.augmentation, baseline_of(row).method) for row, one in rows if one[0] == "IR"}
    rows = [(row, one) for row, one in rows if (*row[:2], row.augmentation, baseline_of(row).method) in split]
    if not rows:
        raise UserError(
            f"no record of protocol {PROTOCOL} is of a run with CLeVER's or DDCL's terms (their weights come from "
            "runs.json)"
        )
    grids = []
    for data in sorted({row.data for row, _ in rows}):
        here = [(row, one) for row, one in rows if row.data == data]
        chosen = {row for row, _ in here}
        found = {what for row, what in numbers.measured if row in chosen and (what.protocol, what.part) == WANTED}
        perturbations = sorted({what.perturbation for what in found if what.metric == "top1"}, key=perturbation_rank)
        grids.append(
            Grid(
                title=f"Ablation of the loss terms: {data}",
                caption=(
                    f"Linear probe on {data}, the whole representation, last epoch; top-1 accuracy in percent, mean ± "
                    "standard deviation over seeds. L_CL: what the contrast compares; L_Orth, L_PReg: weights of the "
                    "orthogonality of IR and EF and of the regulariser of the heads' norms; –: absent."
                ),
                label_heads=("backbone", "method", "augmentation", "L_CL", "L_Orth", "L_PReg"),
                columns=tuple(perturbations),
                lines=tuple(
                    line_against_baseline(
                        (*labels_of(row), *one),
                        row,
                        [Measurement(PROTOCOL, perturbation=name) for name in perturbations],
                    )
                    for row, one in here
                ),
                compared="the combination of terms minus the baseline alone",
                notes=(perturbation_note(perturbations),),
            )
        )
    return grids, []


def _terms_of(row: Configuration, numbers: Numbers) -> tuple[str, str, str] | None:
    prefix = "/".join(row) + "/"
    for run, description in numbers.runs.items():
        method = description.get("recipe", {}).get("method") if run.startswith(prefix) else None
        if method:
            return terms(method.get("equivariance") or {"name": "none"})
    return None


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    draw(build, str(__doc__), argv)


if __name__ == "__main__":
    run_script(main)
