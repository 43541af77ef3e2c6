"""The robustness figure: accuracy under each test-time perturbation, by method and training augmentation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import style
from arguments import add_protocol, add_records, check_suffixes, make_parser, run_script
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from names import METRICS, NOT_PUBLISHED, PROTOCOLS, perturbation_rank, seeds_label
from published_values import read_published
from summary import Cell, Configuration, Measured, Published, configurations, published_cells, summarise

from clever.results.records import read_records
from clever.results.run_id import PIXELS, UNTRAINED

PublishedCells = Mapping[tuple[Configuration, str], Published]


def draw(cells: Mapping[Cell, Measured], published: PublishedCells, *, protocol: str, part: str, metric: str) -> Figure:
    """One row of panels per data set and backbone, one column per training augmentation.

    Values are means from the last epoch, with their spread over seeds. Every panel shows both controls. Published
    values of the same cell are hollow and dashed. Values on other data sets are left out, because drawing them next to
    ours would suggest that they are comparable.
    """
    last = {cell: measured for cell, measured in cells.items() if cell.selection == "last"}
    rows = [
        row for data in sorted({cell.configuration.data for cell in last}) for row in configurations(dict(last), data)
    ]
    trained = [row for row in rows if not row.is_control]
    blocks = list(dict.fromkeys((row.data, row.backbone) for row in trained or rows))
    augmentations = list(dict.fromkeys(row.augmentation for row in sorted(trained, key=_by_augmentation))) or ["none"]
    perturbations = sorted({cell.perturbation for cell in last}, key=perturbation_rank)
    comparable = {key: value for key, value in published.items() if key[0] in trained}
    looks = style.marks([row.method for row in trained])
    width = max(5.6, 0.9 + len(augmentations) * max(2.6, 0.62 * len(perturbations)))
    with style.house_style():
        figure = style.new_figure(width, 1.35 + 2.45 * len(blocks))
        grid = figure.subplots(len(blocks), len(augmentations), sharex=True, sharey="row", squeeze=False)
        for block, panels in zip(blocks, grid, strict=True):
            for augmentation, axes in zip(augmentations, panels, strict=True):
                _draw_panel(axes, block, augmentation, perturbations, last, comparable, looks)
                axes.set_title(f"{block[1]} · {augmentation}" if trained else block[1])
            panels[0].set_ylabel(f"{METRICS.get(metric, metric)} (%)\non {block[0]}")
        for axes in grid[-1]:
            axes.set_xlabel("test-time perturbation")
        figure.suptitle(_title(protocol, part, last), x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        handles = _legend(looks, bool(comparable))
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=style.legend_columns([str(handle.get_label()) for handle in handles], width),
            title=None if comparable else f"Published values on {_names(blocks)}: {NOT_PUBLISHED}",
            title_fontsize=8,
            alignment="left",
        )
    return figure


def _by_augmentation(row: Configuration) -> tuple[object, ...]:
    return Configuration(row.data, "", "", row.augmentation).rank()


def _names(blocks: Sequence[tuple[str, str]]) -> str:
    return ", ".join(dict.fromkeys(data for data, _ in blocks))


def _title(protocol: str, part: str, cells: Mapping[Cell, Measured]) -> str:
    counts = sorted({measured.seeds for cell, measured in cells.items() if not cell.configuration.is_control})
    seeds = f", {seeds_label(counts[-1], counts[0])}" if counts else ""
    return f"{PROTOCOLS.get(protocol, protocol)} under perturbation (representation: {part}{seeds})"


def _draw_panel(
    axes: Axes,
    block: tuple[str, str],
    augmentation: str,
    perturbations: Sequence[str],
    cells: Mapping[Cell, Measured],
    published: PublishedCells,
    looks: Mapping[str, style.Mark],
) -> None:
    data, backbone = block
    places = range(len(perturbations))
    for control, dashes in ((backbone, (0, (5, 2))), (PIXELS, (0, (1, 1.5)))):
        row = Configuration(data, control, UNTRAINED, "none")
        heights = [_mean(cells.get(Cell(row, name, "last"))) for name in perturbations]
        look = style.METHOD_MARKS[PIXELS if control == PIXELS else UNTRAINED]
        axes.plot(places, heights, color=look.colour, linestyle=dashes, linewidth=1.2, zorder=2)
    methods = [method for method in looks if Configuration(data, backbone, method, augmentation) in _rows(cells)]
    for index, method in enumerate(methods):
        row, look = Configuration(data, backbone, method, augmentation), looks[method]
        # A small horizontal offset keeps equal values and their error bars visible.
        shift = 0.09 * (index - (len(methods) - 1) / 2)
        found = [cells.get(Cell(row, name, "last")) for name in perturbations]
        spread = [0.0 if measured is None or math.isnan(measured.std) else measured.std for measured in found]
        axes.errorbar(
            [place + shift for place in places],
            [_mean(measured) for measured in found],
            yerr=spread if any(spread) else None,
            color=look.colour,
            marker=look.marker,
            markeredgecolor="white",
            markeredgewidth=0.6,
            capsize=2.5,
            elinewidth=1.2,
            zorder=4,
        )
        printed = [published.get((row, name)) for name in perturbations]
        # NaN leaves a gap: no line is drawn across a perturbation that the sources do not print.
        heights = [math.nan if value is None else value.value for value in printed]
        axes.plot(
            [place + shift for place in places],
            heights,
            color=look.colour,
            marker=look.marker,
            markerfacecolor="white",
            markeredgecolor=look.colour,
            linestyle=(0, (2, 1.5)),
            linewidth=1.1,
            zorder=3,
        )
    if not methods:
        axes.text(0.5, 0.94, "no such run", transform=axes.transAxes, ha="center", color=style.MUTED, fontsize=8)
    axes.set_xticks(list(places), perturbations, rotation=28, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.35, len(perturbations) - 0.65)
    axes.grid(visible=False, axis="x")


def _rows(cells: Mapping[Cell, Measured]) -> set[Configuration]:
    return {cell.configuration for cell in cells}


def _mean(measured: Measured | None) -> float:
    return math.nan if measured is None else measured.mean


def _legend(looks: Mapping[str, style.Mark], published: bool) -> list[Line2D]:
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, markeredgecolor="white", label=method)
        for method, look in looks.items()
    ]
    if published:
        handles.append(
            Line2D(
                [],
                [],
                color=style.INK,
                marker="o",
                markerfacecolor="white",
                linestyle=(0, (2, 1.5)),
                linewidth=1.1,
                label="published (hollow)",
            )
        )
    untrained, pixels = style.METHOD_MARKS[UNTRAINED], style.METHOD_MARKS[PIXELS]
    handles += [
        Line2D([], [], color=untrained.colour, linestyle=(0, (5, 2)), linewidth=1.2, label="control: untrained"),
        Line2D([], [], color=pixels.colour, linestyle=(0, (1, 1.5)), linewidth=1.2, label="control: raw pixels"),
    ]
    return handles


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    parser = make_parser(str(__doc__), style.SUFFIXES)
    add_records(parser)
    add_protocol(parser)
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, style.SUFFIXES)
    choice = {"protocol": arguments.protocol, "part": arguments.part, "metric": arguments.metric}
    cells = summarise(read_records(arguments.records), **choice)
    published = published_cells(read_published(arguments.published), **choice)
    for output in arguments.output:
        style.save(draw(cells, published, **choice), output)


if __name__ == "__main__":
    run_script(main)
