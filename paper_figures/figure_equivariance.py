"""The equivariance figure: how far features move when an image is rotated, cropped, jittered, blurred or distorted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import style
from arguments import add_records, check_suffixes, make_parser, run_script
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from names import method_label, seeds_label
from summary import Configuration

from clever.errors import UserError
from clever.results.records import read_records
from clever.results.run_id import PIXELS, UNTRAINED, setting

PROTOCOL = "equivariance"
METRIC = "relative_distance"
OPERATIONS = {
    "rotation": "rotation (degrees)",
    "crop": "crop (share of the side cut off)",
    "jitter": "colour jitter (1: the paper's)",
    "blur": "blur (deviation, share of the side)",
    "elastic": "elastic distortion (1: the paper's)",
}
"""The operations and the meaning of their strengths."""
PART_DASHES: dict[str, style.Dashes] = {"ALL": "solid", "IR": (0, (4, 1.6)), "EF": (0, (1, 1.2))}
BAND_OPACITY = 0.16


class Line(NamedTuple):
    """What one line shows."""

    configuration: Configuration
    part: str


Curve = Mapping[float, Sequence[float]]
"""Maps a strength to the values of the seeds that were measured at it."""


def read_curves(records: pd.DataFrame, metric: str = METRIC) -> dict[str, dict[Line, Curve]]:
    """Map operations to lines to curves; without change (strength 0), every distance is 0.

    Raises:
        UserError: there is no record of the protocol.
    """
    chosen = records[(records["protocol"] == PROTOCOL) & (records["metric"] == metric)]
    # Runs along an ablation's axis have a separate figure; they are shown here only if there are no others.
    varied = chosen[["method", "augmentation"]].map(lambda name: setting(str(name)) is not None).any(axis=1)
    chosen = chosen if chosen[~varied]["method"].eq(UNTRAINED).all() else chosen[~varied]
    if chosen.empty:
        raise UserError(f"no record of protocol {PROTOCOL} with the metric {metric}; add evaluations.{PROTOCOL}")
    found: dict[str, dict[Line, dict[float, list[float]]]] = {name: {} for name in OPERATIONS}
    columns = ["data", "backbone", "method", "augmentation", "part", "perturbation", "value"]
    for *names, part, perturbation, value in chosen[columns].itertuples(index=False, name=None):
        operation, _, strength = str(perturbation).partition("_")
        if operation in OPERATIONS and strength and part in PART_DASHES:
            line = Line(Configuration(*map(str, names)), str(part))
            curve = found[operation].setdefault(line, defaultdict(list, {0.0: [0.0]}))
            curve[float(strength)].append(float(value))
    return {name: dict(lines) for name, lines in found.items() if lines}


def draw(curves: Mapping[str, Mapping[Line, Curve]], floors: Mapping[Line, Curve]) -> Figure:
    """One row of panels per data set, backbone and training augmentation, one column per operation.

    A line is the mean over seeds, with a band of one standard deviation to either side. Methods with IR and EF have a
    line for each; baselines and controls have one for the whole vector. 1 is the distance between two different images.
    The scale of a panel fits its trained networks; the lines of controls and of interpolation may exceed it.

    Args:
        curves: from `read_curves`.
        floors: the same for the part of a rotation's distance that interpolation causes; the largest is shown.
    """
    lines = {line for found in curves.values() for line in found}
    trained = sorted({line.configuration for line in lines if not line.configuration.is_control}, key=_rank)
    blocks = list(dict.fromkeys((row.data, row.backbone, row.augmentation) for row in trained))
    if not blocks:
        blocks = sorted({(line.configuration.data, line.configuration.backbone, "none") for line in lines})
    looks = style.marks([row.method for row in trained])
    drawn: dict[str, Line2D] = {}
    width = 1.0 + 2.6 * len(curves)
    with style.house_style():
        figure = style.new_figure(width, 1.4 + 2.3 * len(blocks))
        grid = figure.subplots(len(blocks), len(curves), sharex="col", squeeze=False)
        for block, panels in zip(blocks, grid, strict=True):
            for axes, (operation, found) in zip(panels, curves.items(), strict=True):
                for line in sorted(found, key=_line_rank):
                    if _belongs(line, block, lines):
                        handle = _draw_line(axes, found[line], line, looks)
                        drawn.setdefault(str(handle.get_label()), handle)
                if operation == "rotation":
                    handle = _draw_floor(axes, [floors[line] for line in floors if _belongs(line, block, lines)])
                    drawn.setdefault(str(handle.get_label()), handle)
                    axes.set_xticks(range(0, 361, 90))
                axes.set_title(f"{block[1]} · {block[2]}" if axes is panels[0] else "")
                axes.axhline(1.0, color=style.MUTED, linewidth=0.8, zorder=1)
                shown = [line for line in found if _belongs(line, block, lines)]
                axes.set_ylim(0.0, _top([found[line] for line in shown if not line.configuration.is_control]))
            panels[0].set_ylabel(f"relative distance\non {block[0]}")
        for axes, operation in zip(grid[-1], curves, strict=True):
            axes.set_xlabel(OPERATIONS[operation])
        title = f"Distance of features from those of the unchanged image ({_seeds(curves)})"
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        figure.legend(
            handles=list(drawn.values()),
            loc="outside lower left",
            ncols=style.legend_columns(list(drawn), width),
            title="1 is the distance between two different images. Bands: one standard deviation over seeds. "
            "Each panel has the scale of its trained networks; controls may leave it.",
            title_fontsize=8,
            alignment="left",
        )
    return figure


def _rank(row: Configuration) -> tuple[object, ...]:
    return (row.data, row.rank())


def _line_rank(line: Line) -> tuple[object, ...]:
    return (_rank(line.configuration), line.part)


def _belongs(line: Line, block: tuple[str, str, str], lines: set[Line]) -> bool:
    """Whether a line is of the block's runs or a control; the whole vector counts only for runs without IR and EF."""
    row = line.configuration
    if row.is_control:
        return row.data == block[0] and row.backbone in (block[1], PIXELS) and line.part == "ALL"
    whole = line.part == "ALL" and Line(row, "IR") in lines
    return (row.data, row.backbone, row.augmentation) == block and not whole


def _draw_line(axes: Axes, curve: Curve, line: Line, looks: Mapping[str, style.Mark]) -> Line2D:
    row = line.configuration
    places = sorted(curve)
    means = np.array([np.mean(curve[place]) for place in places])
    spread = np.array([np.std(curve[place], ddof=1) if len(curve[place]) > 1 else 0.0 for place in places])
    control = PIXELS if row.backbone == PIXELS else UNTRAINED
    look = style.METHOD_MARKS[control] if row.is_control else looks[row.method]
    label = method_label(row.backbone, row.method) + ("" if line.part == "ALL" else f", {line.part}")
    if spread.any():
        axes.fill_between(places, means - spread, means + spread, color=look.colour, alpha=BAND_OPACITY, linewidth=0)
    dashes = (0, (5, 2)) if row.is_control else PART_DASHES[line.part]
    [drawn] = axes.plot(
        places, means, color=look.colour, linestyle=dashes, linewidth=1.2 if row.is_control else 1.7, label=label
    )
    return drawn


def _top(trained: Sequence[Curve]) -> float | None:
    """Upper end of a panel's scale: somewhat above its trained networks; None without any."""
    highest = max((float(np.mean(values)) for curve in trained for values in curve.values()), default=0.0)
    return 1.15 * highest if highest > 0 else None


def _draw_floor(axes: Axes, floors: Sequence[Curve]) -> Line2D:
    """Draw the largest floor of all lines at each angle. It repeats every quarter turn, where it is 0."""
    largest: dict[float, float] = defaultdict(float)
    for curve in floors:
        for angle, values in curve.items():
            for quarter in range(4):
                place = angle + 90.0 * quarter
                largest[place] = max(largest[place], float(np.mean(values)))
    largest |= {90.0 * quarter: 0.0 for quarter in range(5)}
    places = sorted(largest)
    [drawn] = axes.plot(
        places,
        [largest[place] for place in places],
        color=style.ALARM,
        linewidth=1.0,
        label="interpolation alone (largest of all lines)",
    )
    return drawn


def _seeds(curves: Mapping[str, Mapping[Line, Curve]]) -> str:
    counts = sorted(
        {
            len(values)
            for found in curves.values()
            for line, curve in found.items()
            if not line.configuration.is_control
            for strength, values in curve.items()
            if strength
        }
    )
    return seeds_label(counts[-1], counts[0]) if counts else "controls only"


def relative_floors(records: pd.DataFrame) -> pd.DataFrame:
    """Records of ``floor``, in units of the distance between two images, as the metric ``relative_floor``."""
    chosen = records[records["protocol"] == PROTOCOL]
    keys = ["run", "part", "perturbation"]
    wide = chosen.pivot_table(index=keys, columns="metric", values="value")
    if not {"floor", "distance", METRIC} <= set(wide.columns):
        return chosen.iloc[:0]
    scaled = wide["floor"] * wide[METRIC] / wide["distance"]
    floors = chosen[chosen["metric"] == "floor"].set_index(keys)
    return floors.assign(value=scaled, metric="relative_floor").dropna(subset="value").reset_index()


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    parser = make_parser(str(__doc__), style.SUFFIXES)
    add_records(parser)
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, style.SUFFIXES)
    records = read_records(arguments.records)
    records = records[records["selection"] == "last"]
    curves, floors = read_curves(records), relative_floors(records)
    found = read_curves(floors, "relative_floor").get("rotation", {}) if len(floors) else {}
    without_start = {line: {at: values for at, values in curve.items() if at} for line, curve in found.items()}
    for output in arguments.output:
        style.save(draw(curves, without_start), output)


if __name__ == "__main__":
    run_script(main)
