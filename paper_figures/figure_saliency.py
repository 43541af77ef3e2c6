"""Masks of unsupervised saliency side by side: photograph, ground truth, and TokenCut on each method's features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import style
from arguments import check_suffixes, make_parser, run_script
from matplotlib.figure import Figure
from names import SEGMENTERS, method_label, part_rank
from picture_files import (
    Shown,
    add_pictures,
    missing_figure,
    of_first_data,
    of_one_augmentation,
    read_shown,
    show_image,
)

PREFERRED = ("tokencut_bs", "tokencut", "lost")
"""Segmentation methods in order of preference; the paper's figure shows TokenCut."""
CELL = 1.05
"""Width of one picture in inches."""
HIGHEST = 0.92
"""Height of a row of pictures in inches; taller photographs become narrower."""
HEADS = 0.34
"""Height of the names above a block, in inches."""


class Column(NamedTuple):
    """One column of masks."""

    label: str
    shown: Shown
    key: str
    """``<part>/<method>``."""


def columns(shown: Sequence[Shown], segmenter: str) -> list[Column]:
    """A column for each run and part on which the segmenter was run. A part is named where a run has several."""
    found = []
    for each in shown:
        parts = {key.split("/")[1] for key in each.pictures.arrays if key.endswith(f"/{segmenter}")}
        label = method_label(each.run.backbone, each.run.method).removeprefix("control: ")
        found += [
            Column(f"{label}, {part}" if len(parts) > 1 else label, each, f"{part}/{segmenter}")
            for part in sorted(parts, key=part_rank)
        ]
    return found


def segmenter_of(shown: Sequence[Shown], wanted: str | None) -> str:
    """The segmentation method to show: ``wanted``, else the first of ``PREFERRED`` that was recorded."""
    there = {key.rsplit("/", 1)[-1] for each in shown for key in each.pictures.arrays}
    return wanted or next((name for name in PREFERRED if name in there), PREFERRED[0])


def draw(shown: Sequence[Shown], augmentation: str, segmenter: str, photographs: int) -> Figure:
    """One row of pictures for each photograph, one block of rows for each backbone.

    Args:
        shown: pictures of one data set and one protocol, in the order of the columns.
        augmentation: the training augmentation, for the title.
        segmenter: one of ``PREFERRED``.
        photographs: the largest number of photographs to show.
    """
    names = list(shown[0].pictures.facts["photographs"])[:photographs]
    blocks = list(dict.fromkeys(each.run.backbone for each in shown))
    by_block = {
        backbone: columns([each for each in shown if each.run.backbone == backbone], segmenter) for backbone in blocks
    }
    across = 2 + max(len(each) for each in by_block.values())
    images = [shown[0].pictures.arrays[f"{place}/image"] for place in range(len(names))]
    pictures = [min(HIGHEST, CELL * image.shape[0] / image.shape[1]) for image in images]
    # The IoU is below each picture.
    rows = [picture + 0.19 for picture in pictures]
    width, height = CELL * across, 0.3 + len(blocks) * (HEADS + sum(rows))
    with style.house_style():
        figure = style.new_figure(width, height)
        figure.set_layout_engine("none")
        title = (
            f"{shown[0].run.data}, {shown[0].protocol}: {SEGMENTERS[segmenter]}, methods trained with {augmentation}"
        )
        figure.text(0.04 / width, 1 - 0.06 / height, title, va="top", fontsize=9, fontweight="bold")
        top = 0.3
        for backbone in blocks:
            figure.text(0.04 / width, 1 - (top + 0.02) / height, backbone, va="top", fontsize=8, fontweight="bold")
            heads = ["photograph", "ground truth", *(column.label for column in by_block[backbone])]
            for place, head in enumerate(heads):
                centre = (place + 0.5) * CELL / width
                figure.text(centre, 1 - (top + HEADS - 0.03) / height, head, ha="center", va="bottom", fontsize=7)
            top += HEADS
            for place, image in enumerate(images):
                picture = pictures[place]
                pictured = [image, shown[0].pictures.arrays[f"{place}/truth"]]
                pictured += [column.shown.pictures.arrays[f"{place}/{column.key}"] for column in by_block[backbone]]
                for number, pixels in enumerate(pictured):
                    box = (
                        (number + 0.03) * CELL / width,
                        1 - (top + 0.97 * picture) / height,
                        0.94 * CELL / width,
                        0.94 * picture / height,
                    )
                    options = {} if pixels.ndim == 3 else {"cmap": "gray", "vmin": 0, "vmax": 1}
                    show_image(figure.add_axes(box), pixels if pixels.ndim == 3 else pixels.astype(np.uint8), **options)
                for number, column in enumerate(by_block[backbone], start=2):
                    overlap = column.shown.pictures.facts["iou"][f"{place}/{column.key}"]
                    spot = (number + 0.5) * CELL / width, 1 - (top + picture + 0.01) / height
                    figure.text(*spot, f"IoU {overlap:.0f}", ha="center", va="top", fontsize=7, color=style.MUTED)
                top += rows[place]
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    parser = make_parser(str(__doc__), style.SUFFIXES)
    add_pictures(parser)
    parser.add_argument("--photographs", type=int, default=4, help="photographs to show at most (default: 4)")
    parser.add_argument("--segmenter", choices=PREFERRED, help="masks to show (default: the first that there is)")
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, style.SUFFIXES)
    if shown := of_first_data(read_shown(arguments.pictures)):
        chosen, augmentation = of_one_augmentation(shown, arguments.augmentation)
        figure = draw(chosen, augmentation, segmenter_of(chosen, arguments.segmenter), arguments.photographs)
    else:
        figure = missing_figure()
    for output in arguments.output:
        style.save(figure, output)


if __name__ == "__main__":
    run_script(main)
