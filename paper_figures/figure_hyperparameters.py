"""Ablations on hyper-parameters (Fig. 5): accuracy along each axis that a study varies around a method's values."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import style
from arguments import add_protocol, add_records, add_runs, check_suffixes, make_parser, run_script
from grids import Measurement, Numbers, read_numbers
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from names import METRICS, NOT_PUBLISHED, configuration_rank, perturbation_rank, reference_of
from published_values import read_published
from summary import Configuration

from clever.errors import UserError
from clever.results.records import read_records
from clever.results.run_description import read_runs
from clever.results.run_id import setting, unvaried

OPTIONS = {
    "separation_ratio": "separation ratio: share of IR",
    "orthogonality_weight": "weight of orthogonality",
    "head_norm_weight": "weight of head norm",
    "ef_baseline.out_dim": "outputs of the EF's head",
}
"""Words for the options of the paper's figure; other options keep their own names."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "os^vDP"
PANEL = (2.9, 2.3)
"""Width and height of a panel in inches."""
COLUMNS = 4


class Place(NamedTuple):
    """One panel: the option of a method, as trained with one backbone and augmentation."""

    data: str
    backbone: str
    augmentation: str
    method: str
    option: str

    def rank(self) -> tuple[object, ...]:
        """Sort key: by row of the figure, and within a row the paper's options first."""
        known = list(OPTIONS)
        place = known.index(self.option) if self.option in known else len(known)
        return (self.data, configuration_rank(self.backbone, self.method, self.augmentation), place, self.option)


class Points(NamedTuple):
    """The configurations along an axis by the text of their value, and the text of the method's own value, if known."""

    values: Mapping[str, Configuration]
    own: str | None


def axes_of(numbers: Numbers, what: Measurement) -> dict[Place, Points]:
    """Every axis along which a method was varied, with the method's own value where its runs were recorded.

    Raises:
        UserError: the study varies no method.
    """
    found: dict[Place, dict[str, Configuration]] = defaultdict(dict)
    for row, measurement in numbers.measured:
        varied = setting(row.method)
        if varied is not None and setting(row.augmentation) is None and measurement.protocol == what.protocol:
            place = Place(row.data, row.backbone, row.augmentation, unvaried(row.method), varied[0])
            found[place][varied[1]] = row
    if not found:
        raise UserError(
            f"no record of protocol {what.protocol} is of an ablation; add axes, for example "
            "{equivariance.separation_ratio: [0.5, 0.9]}, to a block of pretrainings"
        )
    points = {}
    for place, values in found.items():
        plain = Configuration(place.data, place.backbone, place.method, place.augmentation)
        own = own_value(numbers, plain, place.option)
        points[place] = Points(values if own is None else values | {own: plain}, own)
    return points


def own_value(numbers: Numbers, plain: Configuration, option: str) -> str | None:
    """The value of an option in the recipe of a configuration's runs, as a run's id would show it; None if unknown."""
    prefix = "/".join(plain) + "/"
    recipe: Mapping[str, Any] = next(
        (run.get("recipe", {}) for name, run in numbers.runs.items() if name.startswith(prefix)), {}
    )
    method = recipe.get("method") or {}
    for section in ("equivariance", "baseline"):
        value = _dig(method.get(section) or {}, option.split("."))
        if value is not None:
            return (
                f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value).lower()
            )
    if option.startswith("ef_baseline."):  # options that the EF's head does not set come from the baseline
        return own_value(numbers, plain, option.partition(".")[2])
    return None


def _dig(content: Any, path: Sequence[str]) -> Any:
    for key in path:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def draw(numbers: Numbers, what: Measurement, perturbations: Sequence[str]) -> Figure:
    """One row of panels per method, backbone and augmentation; one panel per option; one line per perturbation.

    Points are means over seeds with their standard deviation, equally spaced in the order of the values. The ring is
    the method's own value; the dashed line is the baseline alone.
    """
    points = axes_of(numbers, what)
    groups: dict[tuple[str, ...], list[Place]] = defaultdict(list)
    for place in sorted(points, key=Place.rank):
        groups[place[:4]].append(place)
    columns = min(COLUMNS, max(len(places) for places in groups.values()))
    lines = [places[start : start + columns] for places in groups.values() for start in range(0, len(places), columns)]
    with style.house_style():
        width = max(5.6, PANEL[0] * columns + 0.5)
        figure = style.new_figure(width, (PANEL[1] + 0.35) * len(lines) + 1.3)
        grid = figure.subplots(len(lines), columns, squeeze=False, sharey="row")
        for cells, places in zip(grid, lines, strict=True):
            for axes, place in zip(cells, places, strict=False):
                _draw_panel(axes, place, points[place], numbers, what, perturbations)
            for axes in cells[len(places) :]:
                axes.set_visible(False)
            cells[0].set_ylabel(f"{METRICS.get(what.metric, what.metric)} (%)\non {places[0].data}")
            cells[0].set_title(
                f"{places[0].method} · {places[0].backbone} · {places[0].augmentation}", fontsize=9, pad=8
            )
        figure.suptitle(
            "Ablations on hyper-parameters (one option varied at a time)",
            x=0.01,
            ha="left",
            fontsize=10.5,
            fontweight="bold",
        )
        handles = _legend(perturbations)
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=style.legend_columns([str(handle.get_label()) for handle in handles], width),
            title=f"Bars: standard deviation over seeds\nPublished values: {NOT_PUBLISHED}",
            title_fontsize=8,
            alignment="left",
        )
    return figure


def _number(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return math.inf, text


def _draw_panel(
    axes: Axes, place: Place, points: Points, numbers: Numbers, what: Measurement, perturbations: Sequence[str]
) -> None:
    values = sorted(points.values, key=_number)
    alone = Configuration(place.data, place.backbone, reference_of(place.method), place.augmentation)
    for perturbation, colour, marker in zip(perturbations, COLOURS, MARKERS, strict=False):
        measurement = what._replace(perturbation=perturbation)
        seeds = [list(numbers.measured.get((points.values[value], measurement), {}).values()) for value in values]
        means = [float(np.mean(found)) if found else math.nan for found in seeds]
        spreads = [float(np.std(found, ddof=1)) if len(found) > 1 else 0.0 for found in seeds]
        axes.errorbar(
            range(len(values)),
            means,
            yerr=spreads if any(spreads) else None,
            color=colour,
            marker=marker,
            markeredgecolor="white",
            markeredgewidth=0.6,
            capsize=2.2,
            zorder=4,
        )
        if points.own is not None:
            axes.plot(
                values.index(points.own),
                means[values.index(points.own)],
                color=colour,
                marker="o",
                markersize=11,
                markerfacecolor="none",
                linestyle="none",
                zorder=5,
            )
        baseline = list(numbers.measured.get((alone, measurement), {}).values())
        if baseline and alone.method != place.method:
            axes.axhline(float(np.mean(baseline)), color=colour, linestyle=(0, (4, 1.5)), linewidth=1.1, zorder=2)
    axes.set_xticks(range(len(values)), values)
    axes.set_xlim(-0.4, len(values) - 0.6)
    axes.set_xlabel(OPTIONS.get(place.option, place.option))


def _legend(perturbations: Sequence[str]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker=marker, markeredgecolor="white", label=perturbation)
        for perturbation, colour, marker in zip(perturbations, COLOURS, MARKERS, strict=False)
    ]
    ring = Line2D([], [], color=style.INK, marker="o", markersize=10, markerfacecolor="none", linestyle="none")
    ring.set_label("the method's own value")
    dashed = Line2D([], [], color=style.INK, linestyle=(0, (4, 1.5)), linewidth=1.1, label="the baseline alone")
    return [*handles, ring, dashed]


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    parser = make_parser(str(__doc__), style.SUFFIXES)
    add_records(parser)
    add_runs(parser)
    add_protocol(parser)
    parser.add_argument(
        "--perturbations", nargs="+", help="perturbations to show (default: orig and cj_rot, or what there is)"
    )
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, style.SUFFIXES)
    runs = read_runs(arguments.runs) if arguments.runs else []
    numbers = read_numbers(read_records(arguments.records), read_published(arguments.published), runs)
    what = Measurement(arguments.protocol, arguments.part, "", arguments.metric)
    recorded = {one.perturbation for _, one in numbers.measured if one._replace(perturbation="") == what}
    usual = [name for name in ("orig", "cj_rot") if name in recorded]
    perturbations = arguments.perturbations or usual or sorted(recorded, key=perturbation_rank)[: len(COLOURS)]
    for output in arguments.output:
        style.save(draw(numbers, what, perturbations), output)


if __name__ == "__main__":
    run_script(main)
