"""The robustness figure (Fig. 1): accuracy under each test-time perturbation, and its difference from the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import style
from arguments import add_protocol, add_records, check_suffixes, make_parser, run_script
from grids import Measurement, Numbers, baseline_of, read_numbers
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from names import METRICS, NOT_PUBLISHED, PROTOCOLS, configuration_rank, perturbation_rank, seeds_label
from published_values import read_published
from summary import Configuration

from clever.errors import UserError
from clever.results.records import read_records
from clever.results.run_id import NO_AUGMENTATION, PIXELS, UNTRAINED, setting

BAND = "#f4f4f4"
CONTROL_DASHES: dict[str, style.Dashes] = {UNTRAINED: (0, (4, 1.5)), PIXELS: (0, (1, 1.2))}
HOLLOW = "published (hollow)"


def draw(numbers: Numbers, *, protocol: str, part: str, metric: str) -> Figure:
    """One cell of panels per data set, backbone and training augmentation: values above, differences below.

    Values are means over seeds from the last epoch with their standard deviation; differences are paired by seed, with
    their 95 % confidence interval. Perturbations have no order, so no line joins them. Every panel shows the controls.
    Published values of the same configuration are hollow; those on other data sets are left out, because drawing them
    next to ours would suggest that they are comparable. Runs along an ablation's axis have separate figures.

    Raises:
        UserError: there is no such record.
    """
    rows = [
        row
        for row in sorted({row for row, what in numbers.measured if what[:2] + what[3:4] == (protocol, part, metric)})
        if setting(row.method) is None and setting(row.augmentation) is None
    ]
    if not rows:
        raise UserError(f"no record of protocol, part, metric = {protocol} {part} {metric}")
    panels = Panels(numbers, rows, protocol, part, metric)
    with style.house_style():
        width = max(5.6, 0.9 + len(panels.augmentations) * panels.width)
        heights = [height for _ in panels.blocks for height in ((2.2, 1.45) if panels.compared else (2.2,))]
        figure = style.new_figure(width, sum(heights) + 0.35 * len(panels.blocks) + 1.25)
        grid = figure.subplots(
            len(heights), len(panels.augmentations), sharex=True, sharey="row", squeeze=False, height_ratios=heights
        )
        step = 2 if panels.compared else 1
        for place, block in enumerate(panels.blocks):
            for column, augmentation in enumerate(panels.augmentations):
                _draw_cell(panels, block, augmentation, [grid[place * step + row][column] for row in range(step)])
            shown = [axes for axes in grid[place * step] if axes.get_visible()]
            shown[0].set_ylabel(f"{METRICS.get(metric, metric)} (%)\non {block[0]}")
            if panels.compared:
                below = [axes for axes in grid[place * step + 1] if axes.get_visible()]
                if below:
                    below[0].set_ylabel("Δ to baseline\n(points)")
        _name_perturbations(panels, grid)
        figure.suptitle(_title(panels), x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        handles = _legend(panels)
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=style.legend_columns([str(handle.get_label()) for handle in handles], width),
            title=_legend_title(panels),
            title_fontsize=8,
            alignment="left",
        )
    return figure


class Panels:
    """What the panels show: blocks (data set, backbone), columns (augmentation), places (perturbation), methods."""

    def __init__(self, numbers: Numbers, rows: Sequence[Configuration], protocol: str, part: str, metric: str) -> None:
        self.numbers, self.protocol, self.part, self.metric = numbers, protocol, part, metric
        self.trained = [row for row in rows if not row.is_control]
        self.rows = frozenset(rows)
        shown = self.trained or rows
        self.blocks = sorted(
            {(row.data, row.backbone) for row in shown},
            key=lambda block: (block[0], configuration_rank(block[1], "", "")),
        )
        self.augmentations = sorted(
            {row.augmentation for row in shown}, key=lambda name: configuration_rank("", "", name)
        )
        found = {what.perturbation for row, what in numbers.measured if row in self.rows and what == self.what(what)}
        self.perturbations = sorted(found, key=perturbation_rank)
        self.looks = style.marks(row.method for row in self.trained)
        self.compared = any(baseline_of(row) != row and baseline_of(row) in self.rows for row in self.trained)
        self.published = any(
            (row, self.at(name)) in numbers.printed for row in self.trained for name in self.perturbations
        )
        methods = max(
            (len(self.methods(*block, name)) for block in self.blocks for name in self.augmentations), default=1
        )
        self.width = max(2.6, len(self.perturbations) * max(0.62, 0.1 * methods))

    def at(self, perturbation: str) -> Measurement:
        """The measurement under a perturbation."""
        return Measurement(self.protocol, self.part, perturbation, self.metric)

    def what(self, like: Measurement) -> Measurement:
        """The measurement of this figure under the perturbation of ``like``."""
        return self.at(like.perturbation)

    def methods(self, data: str, backbone: str, augmentation: str) -> list[str]:
        """The methods of one cell, each baseline before its add-ons."""
        names = [row.method for row in self.trained if row[:2] == (data, backbone) and row.augmentation == augmentation]
        return sorted(names, key=lambda name: name.split("+"))

    def controls(self, block: tuple[str, str]) -> list[tuple[str, Configuration]]:
        """The controls of a block that were measured, each with the key of its mark."""
        data, backbone = block
        found = ((UNTRAINED, backbone), (PIXELS, PIXELS))
        rows = [(key, Configuration(data, name, UNTRAINED, NO_AUGMENTATION)) for key, name in found]
        return [(key, row) for key, row in rows if row in self.rows]


def _draw_cell(panels: Panels, block: tuple[str, str], augmentation: str, cell: Sequence[Axes]) -> None:
    methods = panels.methods(*block, augmentation)
    if not methods and panels.trained:
        for axes in cell:  # no such run: no panel
            axes.set_visible(False)
        return
    cell[0].set_title(f"{block[1]} · {augmentation}" if panels.trained else block[1])
    shifts = np.linspace(-0.3, 0.3, len(methods)) if len(methods) > 1 else [0.0] * len(methods)
    for axes in cell:
        for place in range(1, len(panels.perturbations), 2):
            axes.axvspan(place - 0.5, place + 0.5, color=BAND, linewidth=0, zorder=0)
        axes.set_xlim(-0.5, len(panels.perturbations) - 0.5)
        axes.grid(visible=False, axis="x")
    for key, row in panels.controls(block):
        for place, name in enumerate(panels.perturbations):
            height = _mean(panels, row, name)
            if not math.isnan(height):
                cell[0].plot(
                    [place - 0.45, place + 0.45],
                    [height, height],
                    color=style.METHOD_MARKS[key].colour,
                    linestyle=CONTROL_DASHES[key],
                    linewidth=1.2,
                    zorder=2,
                )
    for method, shift in zip(methods, shifts, strict=True):
        row = Configuration(*block, method, augmentation)
        _draw_values(panels, row, shift, cell[0])
        if len(cell) > 1:
            _draw_differences(panels, row, shift, cell[1])
    if len(cell) > 1:
        if cell[1].lines:
            cell[1].axhline(0, color=style.INK, linewidth=0.9, zorder=1)
        else:
            cell[1].set_visible(False)


def _draw_values(panels: Panels, row: Configuration, shift: float, axes: Axes) -> None:
    look = panels.looks[row.method]
    heights = [_mean(panels, row, name) for name in panels.perturbations]
    spreads = [_spread(panels, row, name) for name in panels.perturbations]
    places = [place + shift for place in range(len(panels.perturbations))]
    _draw_points(axes, places, heights, spreads, look)
    printed = [panels.numbers.printed.get((row, panels.at(name))) for name in panels.perturbations]
    if any(printed):
        axes.plot(
            places,
            [math.nan if value is None else value.value for value in printed],
            color=look.colour,
            marker=look.marker,
            markerfacecolor="white",
            markeredgecolor=look.colour,
            markersize=7.5,
            linestyle="none",
            zorder=3,
        )


def _draw_differences(panels: Panels, row: Configuration, shift: float, axes: Axes) -> None:
    alone, look = baseline_of(row), panels.looks[row.method]
    found = [
        panels.numbers.difference((row, panels.at(name)), (alone, panels.at(name))) for name in panels.perturbations
    ]
    if not any(found):
        return
    reach = [0.0 if one is None or math.isnan(one.low) else one.mean - one.low for one in found]
    places = [place + shift for place in range(len(found))]
    _draw_points(axes, places, [math.nan if one is None else one.mean for one in found], reach, look)


def _draw_points(
    axes: Axes, places: Sequence[float], heights: Sequence[float], reach: Sequence[float], look: style.Mark
) -> None:
    """A method's points, with bars of ``reach`` to either side unless all are 0."""
    axes.errorbar(
        places,
        heights,
        yerr=reach if any(reach) else None,
        color=look.colour,
        marker=look.marker,
        markeredgecolor="white",
        markeredgewidth=0.6,
        linestyle="none",
        capsize=2.2,
        elinewidth=1.2,
        zorder=4,
    )


def _mean(panels: Panels, row: Configuration, perturbation: str) -> float:
    values = list(panels.numbers.measured.get((row, panels.at(perturbation)), {}).values())
    return float(np.mean(values)) if values else math.nan


def _spread(panels: Panels, row: Configuration, perturbation: str) -> float:
    values = list(panels.numbers.measured.get((row, panels.at(perturbation)), {}).values())
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _name_perturbations(panels: Panels, grid: np.ndarray) -> None:
    """Name the perturbations below the lowest panel of each column."""
    for column in grid.T:
        shown = [axes for axes in column if axes.get_visible()]
        for axes in shown:
            axes.set_xticks(range(len(panels.perturbations)), panels.perturbations)
            axes.tick_params(axis="x", labelbottom=axes is shown[-1], length=0)
        for label in shown[-1].get_xticklabels() if shown else ():
            label.set(rotation=28, ha="right", rotation_mode="anchor")


def _title(panels: Panels) -> str:
    counts = sorted(
        {
            len(seeds)
            for (row, what), seeds in panels.numbers.measured.items()
            if row in panels.trained and what == panels.what(what)
        }
    )
    seeds = f", {seeds_label(counts[-1], counts[0])}" if counts else ""
    name = PROTOCOLS.get(panels.protocol, panels.protocol)
    return f"{name} under perturbation (representation: {panels.part}{seeds})"


def _legend_title(panels: Panels) -> str:
    lines = ["Bars of values: standard deviation over seeds"]
    if panels.compared:
        lines.append("Bars of differences (Δ): 95 % confidence interval, paired by seed")
    if not panels.published:
        names = ", ".join(dict.fromkeys(data for data, _ in panels.blocks))
        lines.append(f"Published values on {names}: {NOT_PUBLISHED}")
    return "\n".join(lines)


def _legend(panels: Panels) -> list[Line2D]:
    handles: list[Line2D] = [
        Line2D([], [], color=look.colour, marker=look.marker, markeredgecolor="white", linestyle="none", label=method)
        for method, look in panels.looks.items()
    ]
    if panels.published:
        handles.append(
            Line2D([], [], color=style.INK, marker="o", markerfacecolor="white", linestyle="none", label=HOLLOW)
        )
    controls: Mapping[str, str] = {UNTRAINED: "control: untrained", PIXELS: "control: raw pixels"}
    measured = {key for block in panels.blocks for key, _ in panels.controls(block)}
    handles += [
        Line2D([], [], color=style.METHOD_MARKS[key].colour, linestyle=CONTROL_DASHES[key], linewidth=1.2, label=label)
        for key, label in controls.items()
        if key in measured
    ]
    return handles


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    parser = make_parser(str(__doc__), style.SUFFIXES)
    add_records(parser)
    add_protocol(parser)
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, style.SUFFIXES)
    numbers = read_numbers(read_records(arguments.records), read_published(arguments.published), [])
    for output in arguments.output:
        figure = draw(numbers, protocol=arguments.protocol, part=arguments.part, metric=arguments.metric)
        style.save(figure, output)


if __name__ == "__main__":
    run_script(main)
