"""How equivariant each part of a representation is: a row for each part of each method and control."""

from __future__ import annotations

from collections.abc import Sequence

from arguments import run_script
from grids import Grid, Measurement, Numbers, draw, found_configurations, labels_of, line_against_baseline
from names import part_rank
from tables import Table

from clever.errors import UserError

PROTOCOL = "equivariance"
COLUMNS = {
    "rotation: relative distance": ("rotation", "relative_distance"),
    "rotation: error of a linear map": ("rotation", "equivariance_error"),
    "rotation: error of no change": ("rotation", "no_change_error"),
    "rotation: EquiMod's gain": ("rotation", "equivariance_gain"),
    "jitter: relative distance": ("jitter", "relative_distance"),
    "crop: relative distance": ("crop", "relative_distance"),
    "blur: relative distance": ("blur", "relative_distance"),
    "elastic: relative distance": ("elastic", "relative_distance"),
}
LIE = ("translation_x", "translation_y", "rotation", "scale", "shear", "brightness", "saturation")
OTHERS = {
    **{f"Lie derivative: {name}": (name, "lie") for name in LIE},
    "shift consistency (%)": ("shift", "shift_consistency"),
}
SIMILARITY = {
    "CKA of IR and EF": ("orig", "cka_ir_ef"),
    "CKA of random groups": ("orig", "cka_random"),
    "CCA of IR and EF": ("orig", "cca_ir_ef"),
    "CCA of random groups": ("orig", "cca_random"),
}
CAPTIONS = {
    "Distances and linear maps": (
        "Relative distance: 1 - cosine between the features of an image and of the changed image, averaged over angles "
        "or strengths, over the same between two different images; 0 is invariant. Error of a linear map from the "
        "features of upright to those of rotated images, averaged over 30, 90 and 180 degrees: 0 is perfectly "
        "equivariant, 1 no better than the mean. EquiMod's gain: cosine of the map's prediction and the truth, minus "
        "that of no change and the truth."
    ),
    "Lie derivatives and shifts": (
        "Squared norm of the derivative of the features, over their variance; 0 is invariant. Shift consistency: how "
        "often a linear classifier's prediction survives a shift by at most an eighth of the side."
    ),
    "Similarity of IR and EF": (
        "Linear CKA (unbiased) and mean canonical correlation of two groups of columns. 1: the same up to a linear "
        "map (CKA: a rotation and scaling); CKA 0: unrelated. Random groups have the widths of IR and EF."
    ),
}


def build(numbers: Numbers) -> tuple[list[Grid], list[Table]]:
    """Three tables per data set: distances and linear maps, derivatives and shifts, similarity of the parts."""
    rows = found_configurations(numbers, lambda what: what.protocol == PROTOCOL)
    if not rows:
        raise UserError(f"no record of protocol {PROTOCOL}; add evaluations.{PROTOCOL} to the study")
    grids = []
    for data in sorted({row.data for row in rows}):
        for (title, caption), columns in zip(CAPTIONS.items(), (COLUMNS, OTHERS, SIMILARITY), strict=True):
            parts = sorted({what.part for _, what in numbers.measured if what.protocol == PROTOCOL}, key=part_rank)
            lines = []
            for row in [row for row in rows if row.data == data]:
                for part in parts if columns is not SIMILARITY else ["ALL"]:
                    cells = [Measurement(PROTOCOL, part, *where) for where in columns.values()]
                    if any((row, cell) in numbers.measured for cell in cells):
                        labels = labels_of(row) if columns is SIMILARITY else (*labels_of(row), part)
                        lines.append(line_against_baseline(labels, row, cells))
            heads = ("backbone", "method", "augmentation", *(() if columns is SIMILARITY else ("part",)))
            grids.append(
                Grid(
                    title=f"{title}: {data}",
                    caption=f"{caption} Mean ± standard deviation over seeds.",
                    label_heads=heads,
                    columns=tuple(columns),
                    lines=tuple(lines),
                    compared="the part of the method minus ALL of its baseline alone",
                    notes=("IR_cut (EF_cut): a random slice of the IR (EF), as wide as the EF (IR).",),
                    decimals=3,
                    unit="in the unit of the column",
                )
            )
    return grids, []


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    draw(build, str(__doc__), argv)


if __name__ == "__main__":
    run_script(main)
