"""Where the backbones look: attention of the last block, or Grad-CAM of each part, on photographs under three views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import style
from arguments import check_suffixes, make_parser, run_script
from matplotlib.figure import Figure
from names import method_label, part_rank
from picture_files import (
    Shown,
    add_pictures,
    missing_figure,
    of_first_data,
    of_one_augmentation,
    read_shown,
    show_image,
)

VIEWS = {"orig": "unchanged", "rotation": "rotated by 45°", "elastic": "elastic"}
CELL = 0.88
"""Width of one picture in inches."""
LABELS = 1.75
"""Width of the names at the left, in inches."""


class Line(NamedTuple):
    """One row of maps."""

    label: str
    shown: Shown
    part: str


def lines(shown: Sequence[Shown]) -> list[Line]:
    """A row for each run and part. A part is named where a run has several."""
    found = []
    for each in shown:
        parts = sorted({key.split("/")[2] for key in each.pictures.arrays} - {"image"}, key=part_rank)
        label = method_label(each.run.backbone, each.run.method)
        found += [Line(f"{label}, {part}" if len(parts) > 1 else label, each, part) for part in parts]
    return found


def draw(shown: Sequence[Shown], augmentation: str, photographs: int) -> Figure:
    """Columns are photographs under each view; below them, a row of maps for each backbone, method and part.

    Args:
        shown: pictures of one data set and one protocol, in the order of the rows.
        augmentation: the training augmentation, for the title.
        photographs: the largest number of photographs to show.
    """
    facts = shown[0].pictures.facts
    names = list(facts["photographs"])[:photographs]
    columns = [(place, view) for place in range(len(names)) for view in facts["views"]]
    rows = lines(shown)
    blocks = list(dict.fromkeys(line.shown.run.backbone for line in rows))
    heights = [0.42, 1.0]
    for backbone in blocks:
        heights += [0.3, *[1.0] * sum(line.shown.run.backbone == backbone for line in rows)]
    with style.house_style():
        figure = style.new_figure(LABELS + CELL * len(columns), CELL * sum(heights))
        figure.set_layout_engine("none")
        total, width = sum(heights), LABELS + CELL * len(columns)
        tops = np.concatenate([[0.0], np.cumsum(heights)])

        def cell(row: int, column: int) -> tuple[float, float, float, float]:
            gap = 0.03
            left = (LABELS + CELL * (column + gap)) / width
            bottom = 1 - (tops[row + 1] - gap) / total
            return left, bottom, CELL * (1 - 2 * gap) / width, (1 - 2 * gap) / total

        def name(row: int, text: str) -> None:
            height = 1 - (tops[row] + tops[row + 1]) / 2 / total
            figure.text((LABELS - 0.08) / width, height, text, ha="right", va="center", fontsize=8)

        for column, (place, view) in enumerate(columns):
            axes = figure.add_axes(cell(1, column))
            show_image(axes, shown[0].pictures.arrays[f"{place}/{view}/image"])
            axes.set_title(VIEWS.get(view, view), fontsize=7.5, loc="center", fontweight="normal", pad=2)
        name(1, "photograph")
        title = f"{shown[0].run.data}, {shown[0].protocol}: methods trained with {augmentation}"
        figure.text(0.06 / width, 1 - 0.15 * 0.42 / total, title, va="top", fontsize=9, fontweight="bold")
        row = 2
        for backbone in blocks:
            kind = "Grad-CAM" if _has_parts(rows, backbone) else "[CLS] attention, mean over heads"
            figure.text(
                (LABELS + CELL * 0.03) / width,
                1 - (tops[row] + 0.17) / total,
                f"{backbone}: {kind}",
                va="center",
                fontsize=8,
                fontweight="bold",
            )
            row += 1
            for line in rows:
                if line.shown.run.backbone != backbone:
                    continue
                for column, (place, view) in enumerate(columns):
                    map_ = line.shown.pictures.arrays[f"{place}/{view}/{line.part}"].astype(np.float64)
                    show_image(figure.add_axes(cell(row, column)), map_, cmap="inferno", vmin=0.0, vmax=1.0)
                name(row, line.label)
                row += 1
    return figure


def _has_parts(rows: Sequence[Line], backbone: str) -> bool:
    return any(line.part != "ALL" for line in rows if line.shown.run.backbone == backbone)


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    parser = make_parser(str(__doc__), style.SUFFIXES)
    add_pictures(parser)
    parser.add_argument("--photographs", type=int, default=3, help="photographs to show at most (default: 3)")
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, style.SUFFIXES)
    if shown := of_first_data(read_shown(arguments.pictures)):
        chosen, augmentation = of_one_augmentation(shown, arguments.augmentation)
        figure = draw(chosen, augmentation, arguments.photographs)
    else:
        figure = missing_figure()
    for output in arguments.output:
        style.save(figure, output)


if __name__ == "__main__":
    run_script(main)
