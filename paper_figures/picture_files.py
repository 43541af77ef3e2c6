"""Helpers for figures with pictures: their input, the choice of runs, and the note that replaces missing pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from names import AUGMENTATIONS, configuration_rank

from clever.results.pictures import Pictures, read_pictures
from clever.results.run_id import UNTRAINED, RunId, setting

MISSING = (
    "No pictures here: images of a data set are not committed with the records. Run the study, and they are drawn from "
    "its results."
)


@dataclass(frozen=True)
class Shown:
    """The pictures of one run under one protocol or variant."""

    run: RunId
    protocol: str
    pictures: Pictures


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """Add ``--pictures`` and ``--augmentation``."""
    parser.add_argument(
        "--pictures",
        type=Path,
        nargs="*",
        default=[],
        metavar="NPZ",
        help="pictures that the study's evaluations have kept; without any, a note of what is missing is drawn",
    )
    parser.add_argument(
        "--augmentation",
        help="training augmentation of the methods to show (default: caug if there are runs of it, else the first)",
    )


def read_shown(paths: Iterable[Path]) -> list[Shown]:
    """All files that hold a picture, in the order of a table's rows; without the runs of an ablation's axis.

    Raises:
        UserError: a file is damaged or holds something else.
    """
    read = [read_pictures(path) for path in paths]
    shown = [
        Shown(RunId.parse(each.run), str(each.facts["protocol"]), each)
        for each in read
        if each.facts.get("photographs")
    ]
    return sorted(
        (each for each in shown if setting(each.run.method) is None and setting(each.run.augmentation) is None),
        key=lambda each: (
            each.run.data,
            each.protocol,
            *configuration_rank(each.run.backbone, each.run.method, each.run.augmentation),
        ),
    )


def of_first_data(shown: Sequence[Shown]) -> list[Shown]:
    """The pictures of the first data set and protocol; empty if there are none."""
    return [each for each in shown if (each.run.data, each.protocol) == (shown[0].run.data, shown[0].protocol)]


def of_one_augmentation(shown: Sequence[Shown], augmentation: str | None = None) -> tuple[list[Shown], str]:
    """The controls and the methods that were trained with one augmentation, and its name.

    Args:
        shown: at least one.
        augmentation: its name; None: caug if there is a method with it, else the first in the order of tables.
    """
    there = {each.run.augmentation for each in shown if each.run.method != UNTRAINED}
    ranked = sorted(there, key=lambda name: (name != "caug", name not in AUGMENTATIONS, name))
    chosen = augmentation or (ranked[0] if ranked else "none")
    return [each for each in shown if each.run.method == UNTRAINED or each.run.augmentation == chosen], chosen


def missing_figure() -> Figure:
    """A figure that says in one line what is missing; the line is also written to standard error."""
    print(f"note: {MISSING}", file=sys.stderr)
    with style.house_style():
        figure = style.new_figure(9.6, 0.5)
        figure.text(0.5, 0.5, MISSING, ha="center", va="center", color=style.MUTED, fontsize=8)
    return figure


def show_image(axes: Axes, image: Any, **options: Any) -> None:
    """Draw pixels [H, W] or [H, W, 3] without axes; vector files embed them at their own resolution."""
    axes.imshow(image, interpolation="none", aspect="equal", **options)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():  # a white edge would be lost on the page
        spine.set(visible=True, color="#b5b5b5", linewidth=0.4)
