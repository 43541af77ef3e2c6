"""The claims figure: each statement's difference and interval, its individual comparisons, and published values."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import style
from arguments import add_records, add_runs, check_suffixes, make_parser, run_script
from claims import SHARE, Numbers, PublishedDifference, published_differences, statements
from differences import CONFIDENCE
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from names import seeds_label
from parameter_counts import parameters_to_compare
from published_values import read_published
from verdicts import Finding, find

from clever.results.records import read_records
from clever.results.run_description import read_runs, unhealthy_runs

AXIS_LABELS = {
    "points": "difference in top-1 accuracy (points)",
    "R²": "difference in R² of the rotation angle",
    SHARE: "difference in relative distance (g1, g2), relative error (g3) or CKA (g4)",
}
MOST_NAMED = 10
"""With more methods than this, all comparisons look the same: nobody can distinguish so many colours and markers."""
ANY_METHOD = style.Mark("#0072B2", "o")
LABEL_WIDTH = 52
"""Characters per line of a statement."""
BAND = "#ececec"


def draw(findings: Sequence[Finding], published: Mapping[str, Sequence[PublishedDifference]], study: str) -> Figure:
    """One panel per unit, one row per measured statement; positive differences point to the right.

    The statements that the study did not measure are listed in a line at the top.

    Black: mean over comparisons and seeds, with its interval over seeds. Coloured, above it: the mean over seeds of
    every comparison of CLeVER. Hollow, below it: the same differences of published values, from other data, backbones
    and schedules. Grey: differences that count as no difference.

    Args:
        findings: every statement, measured or not, in this order.
        published: statement key to published differences.
        study: its name, for the title.
    """
    measured = [finding for finding in findings if finding.pooled.difference is not None]
    lacking = [finding.statement.key for finding in findings if finding.pooled.difference is None]
    panels = {
        unit: [finding for finding in measured if finding.statement.unit == unit]
        for unit in dict.fromkeys(finding.statement.unit for finding in measured)
    }
    methods = {one.method for finding in measured for one in finding.statement.claimed}
    looks = style.marks(methods) if len(methods) <= MOST_NAMED else dict.fromkeys(methods, ANY_METHOD)
    legend = _legend(looks)
    seeds = sorted({len(finding.pooled.by_seed) for finding in measured if finding.pooled.by_seed})
    with style.house_style():
        figure = style.new_figure(8.8, 1.3 + 0.1 * len(legend) + 0.56 * len(measured))
        ratios = [len(rows) + 0.6 for rows in panels.values()]
        grid = figure.subplots(max(len(panels), 1), 1, squeeze=False, height_ratios=ratios or None)
        if not panels:
            grid[0, 0].set_axis_off()
        for axes, (unit, rows) in zip(grid[:, 0], panels.items(), strict=False):
            for place, finding in enumerate(rows):
                _draw_row(axes, -place, finding, published.get(finding.statement.key, ()), looks)
            margin = rows[0].statement.margin
            axes.axvspan(-margin, margin, color=BAND, zorder=0)
            axes.axvline(0, color=style.INK, linewidth=0.9, zorder=1)
            axes.set_yticks([-place for place in range(len(rows))], [_label(finding) for finding in rows])
            axes.set_ylim(0.6 - len(rows), 0.6)
            axes.set_xlabel(AXIS_LABELS.get(unit, unit))
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
        shown = seeds_label(seeds[-1], seeds[0]) if seeds else "no seeds"
        title = f"The paper's claims, measured by {study} ({shown}, last epoch)"
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        if lacking:
            grid[0, 0].set_title(
                "\n".join(textwrap.wrap(f"Not measured by this study: {', '.join(lacking)}", 100)),
                fontsize=8,
                fontweight="normal",
                color=style.MUTED,
            )
        figure.legend(handles=legend, loc="outside lower left", ncols=2, alignment="left")
    return figure


def _draw_row(
    axes: Axes,
    place: float,
    finding: Finding,
    published: Sequence[PublishedDifference],
    looks: Mapping[str, style.Mark],
) -> None:
    difference = finding.pooled.difference
    if difference is not None:
        reach = (
            None
            if math.isnan(difference.low)
            else [[difference.mean - difference.low], [difference.high - difference.mean]]
        )
        axes.errorbar(
            [difference.mean], [place], xerr=reach, fmt="o", color=style.INK, capsize=3.5, elinewidth=1.8, zorder=5
        )
    for one in finding.statement.claimed:
        look, mean = looks[one.method], sum(one.by_seed.values()) / len(one.by_seed)
        axes.plot(
            [mean],
            [place + 0.2],
            color=look.colour,
            marker=look.marker,
            markersize=4.5,
            markeredgecolor="white",
            markeredgewidth=0.4,
            alpha=0.85,
            zorder=4,
        )
    for other in published:
        if other.comparison.claimed:
            axes.plot(
                [other.value], [place - 0.2], marker="d", markersize=4.5, color=style.MUTED, markerfacecolor="none"
            )
    axes.annotate(
        finding.shown,
        (1.01, place),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=8,
        color=style.MUTED,
        annotation_clip=False,
    )


def _label(finding: Finding) -> str:
    return "\n".join(textwrap.wrap(f"{finding.statement.key}: {finding.statement.text}", LABEL_WIDTH))


def _legend(looks: Mapping[str, style.Mark]) -> list[Line2D | Patch]:
    named = looks.items() if len(looks) <= MOST_NAMED else [(f"each of {len(looks)} methods", ANY_METHOD)]
    compared = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="none", label=f"{method}, one comparison")
        for method, look in named
    ]
    return [
        Line2D(
            [],
            [],
            color=style.INK,
            marker="o",
            label=f"mean over comparisons, {100 * CONFIDENCE:.0f} % interval over seeds",
        ),
        *compared,
        Line2D(
            [],
            [],
            color=style.MUTED,
            marker="d",
            markerfacecolor="none",
            linestyle="none",
            label="published: other data, backbones, schedules",
        ),
        Patch(color=BAND, label="counts as no difference"),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    parser = make_parser(str(__doc__), style.SUFFIXES)
    add_records(parser)
    add_runs(parser)
    parser.add_argument("--study", required=True, metavar="NAME", help="the study's name")
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, style.SUFFIXES)
    runs = read_runs(arguments.runs) if arguments.runs else []
    numbers = Numbers(read_records(arguments.records))
    findings = find(statements(numbers, parameters_to_compare(runs)), unhealthy_runs(runs))
    published = published_differences(read_published(arguments.published))
    for output in arguments.output:
        style.save(draw(findings, published, arguments.study), output)


if __name__ == "__main__":
    run_script(main)
