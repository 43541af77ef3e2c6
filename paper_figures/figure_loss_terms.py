"""Loss terms and diagnostics over the epochs, as mean and spread over seeds; reported trouble is marked."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import style
from arguments import add_runs, check_suffixes, make_parser, run_script
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from names import configuration_rank, reference_of

from clever.errors import UserError
from clever.results.curves import HEALTH, health_of_curves, numeric_curves, read_curves
from clever.results.run_description import read_runs, unhealthy_runs
from clever.results.run_id import setting


@dataclass(frozen=True)
class Panel:
    """One quantity: its title, the unit on its axis and, optionally, a value to mark by a line, with its meaning.

    ``baselines`` are those whose methods it shows; empty for all of them.
    """

    metric: str
    title: str
    unit: str
    landmark: tuple[float, str] | None = None
    baselines: frozenset[str] = frozenset()


LOSS = "loss_"
"""Prefix of the metrics of loss terms, the same for every add-on."""
TERMS = {
    "loss_contrast": Panel("loss_contrast", "Contrast", "loss"),
    "loss_orthogonality": Panel("loss_orthogonality", "Orthogonality", "similarity of EF"),
    "loss_head_norm": Panel("loss_head_norm", "Head norm", "gap of squared norms"),
}
"""The terms of CLeVER and DDCL; other add-ons' terms are named after their metrics."""
DIAGNOSTICS = (
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
)
COLUMNS = 3
WIDTH = 9.2
FEW_EPOCHS = 12
MOST_LINES = 6
"""The largest number of unhealthy runs that the legend names."""
SCALES_APART = 4.0
"""Baselines whose largest values differ by more than this factor, or in sign, do not share a panel."""


def draw(curves: pd.DataFrame, trouble: Mapping[str, tuple[int | None, str]], silent: Sequence[str] = ()) -> Figure:
    """Small multiples, one block for each data set and backbone, without panels that would be empty.

    Lines are means over seeds, bands reach from the lowest to the highest seed. Runs along an ablation's axis are left
    out, unless there are no others.

    Args:
        curves: tidy and numeric, one value per row.
        trouble: run id to the epoch (None: unknown) and the reason.
        silent: the runs without a recorded health.

    Raises:
        UserError: the curves hold nothing to draw.
    """
    plain = curves["method"].map(setting).isna() & curves["augmentation"].map(setting).isna()
    curves = curves[plain] if plain.any() else curves
    blocks = sorted(
        {(str(data), str(backbone)) for data, backbone in curves[["data", "backbone"]].to_numpy()},
        key=lambda block: (block[0], configuration_rank(block[1], "", "")),
    )
    panels = {}
    for block in blocks:
        here = curves[(curves["data"] == block[0]) & (curves["backbone"] == block[1])]
        if found := panels_of(here):
            panels[block] = here, found
    if not panels:
        known = ", ".join(["loss_*", *(panel.metric for panel in DIAGNOSTICS)])
        raise UserError(f"the curves hold none of the metrics to draw ({known})")
    looks = style.marks(curves["method"])
    rows = {block: math.ceil(len(found) / COLUMNS) for block, (_, found) in panels.items()}
    with style.house_style():
        height = 1.95 * sum(rows.values()) + 0.4 * len(panels) + 0.85 + 0.17 * min(len(trouble), MOST_LINES + 1)
        figure = style.new_figure(WIDTH, height)
        grid = figure.subplots(sum(rows.values()), COLUMNS, squeeze=False)
        start = 0
        for block, (here, found) in panels.items():
            cells = [axes for line in grid[start : start + rows[block]] for axes in line]
            start += rows[block]
            for axes, panel in zip(cells, found, strict=False):
                _draw_panel(axes, panel, here, looks, trouble)
                axes.set_title(panel.title)
            for axes in cells[len(found) :]:
                axes.set_visible(False)
            if len(panels) > 1:
                # The heading of the block is a line above the title of its first panel, with nothing to its right.
                name = block[1] if len({data for data, _ in panels}) == 1 else f"{block[1]} on {block[0]}"
                cells[0].set_title(f"{name}\n{found[0].title}")
            _label_epochs(cells, len(found))
        place = f" ({blocks[0][1]} on {blocks[0][0]})" if len(blocks) == 1 else ""
        figure.suptitle(f"Loss terms and diagnostics{place}", x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        handles = _legend(curves, looks, bool(trouble))
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=style.legend_columns([str(handle.get_label()) for handle in handles], WIDTH),
            title=_legend_title(curves, trouble, silent),
            title_fontsize=8,
            alignment="left",
        )
    return figure


def panels_of(curves: pd.DataFrame) -> list[Panel]:
    """The panels of one backbone: every loss term, then the diagnostics, in separate panels where baselines have
    different scales."""
    recorded = {str(name) for name in curves["metric"]}
    known = [name for name in TERMS if name in recorded]
    others = sorted(name for name in recorded if name.startswith(LOSS) and name not in TERMS)
    terms = [TERMS.get(name) or Panel(name, _words(name.removeprefix(LOSS)), "loss") for name in [*known, *others]]
    panels = []
    for panel in [*terms, *(one for one in DIAGNOSTICS if one.metric in recorded)]:
        mine = curves[curves["metric"] == panel.metric]
        groups = scale_groups(mine)
        for group in groups:
            names = f" · {', '.join(sorted(group))}" if len(groups) > 1 else ""
            panels.append(
                replace(panel, title=panel.title + names, baselines=group if len(groups) > 1 else frozenset())
            )
    return panels


def scale_groups(curves: pd.DataFrame) -> list[frozenset[str]]:
    """The baselines of one metric, grouped so that the values within a group have similar size and equal sign."""
    by_baseline = curves["value"].groupby(curves["method"].map(reference_of))
    # The typical size of the curve, which one outlier does not change.
    sizes = {str(name): float(values.median()) for name, values in by_baseline}
    groups: list[list[str]] = []
    for name in sorted(sizes, key=lambda name: (sizes[name], name)):
        last = sizes[groups[-1][0]] if groups else 0.0
        if (
            groups
            and last * sizes[name] >= 0
            and abs(sizes[name]) <= SCALES_APART * abs(last) <= SCALES_APART**2 * abs(sizes[name])
        ):
            groups[-1].append(name)
        else:
            groups.append([name])
    return sorted((frozenset(group) for group in groups), key=sorted)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


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
    if panel.baselines:
        mine = mine[mine["method"].map(reference_of).isin(panel.baselines)]
    axes.margins(y=0.12)
    for (method, augmentation), lines in mine.groupby(["method", "augmentation"], sort=True):
        over_seeds = lines.groupby("epoch")["value"].agg(["mean", "min", "max", "size"])
        look = looks[str(method)]
        axes.plot(
            over_seeds.index,
            over_seeds["mean"],
            color=look.colour,
            linestyle=style.AUGMENTATION_DASHES.get(str(augmentation), style.SOLID),
            marker=look.marker if len(over_seeds) <= FEW_EPOCHS else "",
            markersize=3.5,
            linewidth=1.4,
            alpha=0.9,
        )
        if over_seeds["size"].max() > 1:
            axes.fill_between(
                over_seeds.index, over_seeds["min"], over_seeds["max"], color=look.colour, alpha=0.15, linewidth=0
            )
        for run, line in lines.groupby("run", sort=True):
            if str(run) in trouble:
                _mark_trouble(axes, line.sort_values("epoch"), trouble[str(run)][0])
    if panel.landmark is not None:
        _draw_landmark(axes, *panel.landmark)
    axes.set_ylabel(panel.unit)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))


def _mark_trouble(axes: Axes, line: pd.DataFrame, epoch: int | None) -> None:
    """A cross at the run's own value where it first reported trouble; at its last epoch if that is unknown."""
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


def _legend_title(curves: pd.DataFrame, trouble: Mapping[str, tuple[int | None, str]], silent: Sequence[str]) -> str:
    configurations = curves.drop_duplicates("run").groupby(["data", "backbone", "method", "augmentation"]).size()
    bands = ["Lines: mean over seeds; bands: lowest to highest seed"] if configurations.max() > 1 else []
    return "\n".join([*bands, _health_text(trouble, silent)])


def _health_text(trouble: Mapping[str, tuple[int | None, str]], silent: Sequence[str]) -> str:
    lines = []
    for run, (epoch, reason) in sorted(trouble.items()):
        when = "" if epoch is None else f" from epoch {epoch}"
        lines.append(textwrap.shorten(f"Not healthy{when}: {run}: {reason}", width=130, placeholder=" …"))
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"and {len(lines) - MOST_LINES} further runs that were not healthy"]
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
