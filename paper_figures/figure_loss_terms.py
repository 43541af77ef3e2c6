"""Loss terms and diagnostics of every run over its epochs, as small multiples; reported trouble is marked."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import style
from arguments import add_runs, check_suffixes, make_parser, run_script
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from names import configuration_rank

from clever.errors import UserError
from clever.results.curves import HEALTH, health_of_curves, numeric_curves, read_curves
from clever.results.run_description import read_runs, unhealthy_runs


@dataclass(frozen=True)
class Panel:
    """One quantity: its title, the unit on its axis and, optionally, a value to mark by a line, with its meaning."""

    metric: str
    title: str
    unit: str
    landmark: tuple[float, str] | None = None


PANELS = (
    Panel("loss_contrast", "Contrast", "loss (dino: nats)"),
    Panel("loss_orthogonality", "Orthogonality", "mean cosine of EF"),
    Panel("loss_head_norm", "Head norm", "gap of squared norms"),
    Panel("teacher_entropy_ratio", "Teacher entropy", "share of its maximum", (1.0, "1 = uniform: collapsed")),
    Panel(
        "teacher_student_divergence",
        "Divergence",
        "teacher to student (nats)",
        (0.0, "0 = nothing left to learn"),
    ),
    Panel("gradient_norm", "Gradient norm", "norm before clipping"),
    Panel("effective_rank_all", "Effective rank, ALL", "dimensions"),
    Panel("effective_rank_ir", "Effective rank, IR", "dimensions"),
    Panel("effective_rank_ef", "Effective rank, EF", "dimensions"),
    Panel("feature_std_all", "Feature spread, ALL", "spread (1 = isotropic)"),
    Panel("feature_std_ir", "Feature spread, IR", "spread (1 = isotropic)"),
    Panel("feature_std_ef", "Feature spread, EF", "spread (1 = isotropic)"),
    Panel("view_cosine_all", "View agreement, ALL", "mean cosine"),
    Panel("view_cosine_ir", "View agreement, IR", "mean cosine"),
    Panel("view_cosine_ef", "View agreement, EF", "mean cosine"),
    Panel("online_linear_all", "Online linear probe, ALL", "top-1, %"),
    Panel("online_linear_ir", "Online linear probe, IR", "top-1, %"),
    Panel("online_linear_ef", "Online linear probe, EF", "top-1, %"),
    Panel("online_knn_all", "Online k-NN, ALL", "top-1, %"),
    Panel("online_knn_ir", "Online k-NN, IR", "top-1, %"),
    Panel("online_knn_ef", "Online k-NN, EF", "top-1, %"),
)
COLUMNS = 3
WIDTH = 9.2
FEW_EPOCHS = 12


def draw(curves: pd.DataFrame, trouble: Mapping[str, tuple[int | None, str]], silent: Sequence[str] = ()) -> Figure:
    """Small multiples, one block for each data set and backbone.

    ``curves``: tidy and numeric, one value per row. ``trouble``: run id to the epoch (None: unknown) and the reason.
    ``silent``: the runs without a recorded health.
    """
    panels = [panel for panel in PANELS if panel.metric in set(curves["metric"])]
    if not panels:
        raise UserError(f"the curves hold none of the metrics to draw ({', '.join(panel.metric for panel in PANELS)})")
    blocks = sorted(
        {(str(data), str(backbone)) for data, backbone in curves[["data", "backbone"]].to_numpy()},
        key=lambda block: (block[0], configuration_rank(block[1], "", "")),
    )
    looks = style.marks(curves["method"])
    rows = math.ceil(len(panels) / COLUMNS)
    with style.house_style():
        figure = style.new_figure(WIDTH, (0.35 + 1.95 * rows) * len(blocks) + 0.85 + 0.17 * len(trouble))
        grid = figure.subplots(rows * len(blocks), COLUMNS, squeeze=False)
        for number, block in enumerate(blocks):
            here = curves[(curves["data"] == block[0]) & (curves["backbone"] == block[1])]
            cells = [axes for line in grid[number * rows : (number + 1) * rows] for axes in line]
            for axes, panel in zip(cells, panels, strict=False):
                _draw_panel(axes, panel, here, looks, trouble)
                axes.set_title(panel.title)
                if len(blocks) > 1:
                    name = block[1] if len({data for data, _ in blocks}) == 1 else f"{block[0]}\n{block[1]}"
                    axes.set_title(name, loc="right", fontsize=8, fontweight="normal", color=style.MUTED)
            for axes in cells[len(panels) :]:
                axes.set_visible(False)
            _label_epochs(cells, len(panels))
        place = f" ({blocks[0][1]} on {blocks[0][0]})" if len(blocks) == 1 else ""
        figure.suptitle(f"Loss terms and diagnostics{place}", x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        handles = _legend(curves, looks, bool(trouble))
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=style.legend_columns([str(handle.get_label()) for handle in handles], WIDTH),
            title=_health_text(trouble, silent),
            title_fontsize=8,
            alignment="left",
        )
    return figure


def _label_epochs(cells: Sequence[Axes], shown: int) -> None:
    """Name the x axis below the lowest panel of each column."""
    for column in range(min(COLUMNS, shown)):
        cells[max(range(column, shown, COLUMNS))].set_xlabel("epoch")


def _draw_panel(
    axes: Axes,
    panel: Panel,
    curves: pd.DataFrame,
    looks: Mapping[str, style.Mark],
    trouble: Mapping[str, tuple[int | None, str]],
) -> None:
    mine = curves[curves["metric"] == panel.metric]
    axes.margins(y=0.12)
    for (run, method, augmentation), line in mine.groupby(["run", "method", "augmentation"], sort=True):
        line = line.sort_values("epoch")
        look = looks[str(method)]
        few = len(line) <= FEW_EPOCHS
        axes.plot(
            line["epoch"],
            line["value"],
            color=look.colour,
            linestyle=style.AUGMENTATION_DASHES.get(str(augmentation), style.SOLID),
            marker=look.marker if few else "",
            markersize=3.5,
            linewidth=1.4,
            alpha=0.9,
        )
        if str(run) in trouble:
            epoch = trouble[str(run)][0]
            at = line[line["epoch"] >= epoch].head(1) if epoch is not None else line.tail(1)
            axes.plot(
                at["epoch"],
                at["value"],
                color=style.ALARM,
                marker="X",
                markersize=8,
                markeredgecolor="white",
                linestyle="none",
                zorder=5,
                clip_on=False,
            )
    if mine.empty:
        axes.text(
            0.5, 0.5, "no run has this term", transform=axes.transAxes, ha="center", color=style.MUTED, fontsize=8
        )
    elif panel.landmark is not None:
        _draw_landmark(axes, *panel.landmark)
    axes.set_ylabel(panel.unit)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))


def _draw_landmark(axes: Axes, value: float, meaning: str) -> None:
    """A dotted line with its meaning above or below it, and enough room that the label does not cover the curves."""
    axes.axhline(value, color=style.MUTED, linestyle=(0, (1, 1.5)), linewidth=1.0, zorder=1)
    low, high = axes.get_ylim()
    below = value <= (low + high) / 2
    room = 0.16 * (max(high, value) - min(low, value))
    axes.set_ylim(min(low, value - room) if below else low, high if below else max(high, value + room))
    axes.annotate(
        meaning,
        xy=(0.99, value),
        xycoords=("axes fraction", "data"),
        xytext=(0, -3 if below else 3),
        textcoords="offset points",
        ha="right",
        va="top" if below else "bottom",
        fontsize=7.5,
        color=style.MUTED,
    )


def _legend(curves: pd.DataFrame, looks: Mapping[str, style.Mark], trouble: bool) -> list[Line2D]:
    kinds = {(str(method), str(augmentation)) for method, augmentation in curves[["method", "augmentation"]].to_numpy()}
    handles = [
        Line2D(
            [],
            [],
            color=looks[method].colour,
            marker=looks[method].marker,
            markersize=3.5,
            linestyle=style.AUGMENTATION_DASHES.get(augmentation, style.SOLID),
            linewidth=1.4,
            label=f"{method}, {augmentation}",
        )
        for method, augmentation in sorted(kinds, key=lambda kind: configuration_rank("", *kind))
    ]
    if trouble:
        handles.append(
            Line2D(
                [],
                [],
                color=style.ALARM,
                marker="X",
                markersize=8,
                markeredgecolor="white",
                linestyle="none",
                label="not healthy",
            )
        )
    return handles


def _health_text(trouble: Mapping[str, tuple[int | None, str]], silent: Sequence[str]) -> str:
    lines = []
    for run, (epoch, reason) in sorted(trouble.items()):
        when = "" if epoch is None else f" from epoch {epoch}"
        lines.append(textwrap.shorten(f"Not healthy{when}: {run}: {reason}", width=130, placeholder=" …"))
    if silent:
        lines.append(textwrap.shorten(f"Health not recorded: {', '.join(silent)}", width=130, placeholder=" …"))
    return "\n".join(lines) or "Health: ok in every run"


def find_trouble(
    curves: pd.DataFrame, runs: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, tuple[int | None, str]], list[str]]:
    """The unhealthy and the silent runs, from the curves' ``health`` or else from runs.json (without an epoch)."""
    drawn = {str(run) for run in curves["run"]}
    trouble: dict[str, tuple[int | None, str]] = dict(health_of_curves(curves))
    for run, reason in unhealthy_runs(runs).items():
        if run in drawn:
            trouble.setdefault(run, (None, reason))
    recorded = {str(run) for run in curves.loc[(curves["metric"] == HEALTH) & (curves["value"] != ""), "run"]}
    return trouble, sorted(drawn - recorded - {str(run["run"]) for run in runs})


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    parser = make_parser(str(__doc__), style.SUFFIXES)
    parser.add_argument("--curves", type=Path, required=True, metavar="CSV", help="a study's curves.csv")
    add_runs(parser)
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, style.SUFFIXES)
    curves = read_curves(arguments.curves)
    trouble, silent = find_trouble(curves, read_runs(arguments.runs) if arguments.runs else [])
    numbers = numeric_curves(curves, arguments.curves)
    for output in arguments.output:
        style.save(draw(numbers, trouble, silent), output)


if __name__ == "__main__":
    run_script(main)
