"""Objects of videos side by side: frames with the true objects, then with the objects that each method's features
propagate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import style
from arguments import check_suffixes, make_parser, run_script
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from names import method_label, part_rank
from numpy.typing import NDArray
from picture_files import (
    Shown,
    add_pictures,
    missing_figure,
    of_first_data,
    of_one_augmentation,
    read_shown,
    show_image,
)

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours of objects 1, 2, ...; further objects repeat them."""
OPACITY = 0.6
"""Opacity of an object's colour over the frame."""
CELL = 1.2
"""Width of one frame in inches."""
LABELS = 1.75
"""Width of the names at the left, in inches."""
TITLE, HEADS = 0.3, 0.24
"""Height in inches of the title, and of the name of a sequence or a backbone."""
TRUTH = "truth"


class Line(NamedTuple):
    """One row of frames."""

    label: str
    shown: Shown
    part: str


def lines(shown: Sequence[Shown]) -> list[Line]:
    """A row for each run and part. A part is named where a run has several."""
    found = []
    for each in shown:
        parts = sorted({key.split("/")[2] for key in each.pictures.arrays} - {"image", TRUTH}, key=part_rank)
        label = method_label(each.run.backbone, each.run.method)
        found += [Line(f"{label}, {part}" if len(parts) > 1 else label, each, part) for part in parts]
    return found


def painted(image: NDArray[np.uint8], objects: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame [H, W, 3] in grey, with the objects [H, W] in their colours."""
    result = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    for number in range(1, int(objects.max()) + 1):
        colour = 255 * np.array(to_rgb(COLOURS[(number - 1) % len(COLOURS)]))
        there = objects == number
        result[there] = (1 - OPACITY) * result[there] + OPACITY * colour
    return result.round().astype(np.uint8)


def draw(shown: Sequence[Shown], augmentation: str, sequences: int, frames: int) -> Figure:
    """One block of rows for each sequence, one row for the truth and for each backbone, method and part.

    Args:
        shown: pictures of one data set and one protocol, in the order of the rows.
        augmentation: the training augmentation, for the title.
        sequences, frames: the largest numbers of them to show.
    """
    facts = shown[0].pictures.facts
    rows = lines(shown)
    blocks = [
        (str(place), name, [int(number) for number in facts["frames"][str(place)]][:frames])
        for place, name in enumerate(facts["photographs"][:sequences])
    ]
    arrays = shown[0].pictures.arrays
    heights = {
        place: CELL * arrays[f"{place}/{numbers[0]}/image"].shape[0] / arrays[f"{place}/{numbers[0]}/image"].shape[1]
        for place, _, numbers in blocks
    }
    width = LABELS + CELL * max(len(numbers) for _, _, numbers in blocks)
    height = TITLE + sum(HEADS + heights[place] * (1 + len(rows)) for place, _, _ in blocks)
    with style.house_style():
        figure = style.new_figure(width, height)
        figure.set_layout_engine("none")

        def row(top: float, place: str, label: str, pictures: Sequence[Any]) -> None:
            middle = 1 - (top + heights[place] / 2) / height
            figure.text((LABELS - 0.08) / width, middle, label, ha="right", va="center", fontsize=7.5)
            for column, picture in enumerate(pictures):
                left, bottom = LABELS + CELL * (column + 0.02), top + 0.98 * heights[place]
                box = (left / width, 1 - bottom / height, 0.96 * CELL / width, 0.96 * heights[place] / height)
                show_image(figure.add_axes(box), picture)

        title = f"{shown[0].run.data}, {shown[0].protocol}: methods trained with {augmentation}"
        figure.text(0.06 / width, 1 - 0.06 / height, title, va="top", fontsize=9, fontweight="bold")
        top = TITLE
        for place, name, numbers in blocks:
            said = f"{name}, frames {', '.join(str(number + 1) for number in numbers)}"
            figure.text(
                LABELS / width, 1 - (top + HEADS / 2) / height, said, va="center", fontsize=8, fontweight="bold"
            )
            top += HEADS
            frames_shown = [arrays[f"{place}/{number}/image"] for number in numbers]
            truths = [arrays[f"{place}/{number}/{TRUTH}"] for number in numbers]
            row(top, place, "ground truth", [painted(*pair) for pair in zip(frames_shown, truths, strict=True)])
            top += heights[place]
            for line in rows:
                own = line.shown.pictures
                found = [own.arrays[f"{place}/{number}/{line.part}"] for number in numbers]
                score = f"{line.shown.run.backbone}, J&F {own.facts['j_and_f'][f'{place}/{line.part}']:.0f}"
                pictures = [painted(*pair) for pair in zip(frames_shown, found, strict=True)]
                row(top, place, f"{line.label}\n{score}", pictures)
                top += heights[place]
    return figure


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    parser = make_parser(str(__doc__), style.SUFFIXES)
    add_pictures(parser)
    parser.add_argument("--sequences", type=int, default=1, help="sequences to show at most (default: 1)")
    parser.add_argument("--frames", type=int, default=4, help="frames of each to show at most (default: 4)")
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, style.SUFFIXES)
    if shown := of_first_data(read_shown(arguments.pictures)):
        chosen, augmentation = of_one_augmentation(shown, arguments.augmentation)
        figure = draw(chosen, augmentation, arguments.sequences, arguments.frames)
    else:
        figure = missing_figure()
    for output in arguments.output:
        style.save(figure, output)


if __name__ == "__main__":
    run_script(main)
