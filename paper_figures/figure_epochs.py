"""Accuracy against epochs of pre-training, per backbone, with the values of the authors' Backbones.png.

Every point is a complete run with its own schedule, not a checkpoint of a longer one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import style
from arguments import add_protocol, add_records, add_runs, check_suffixes, make_parser, run_script
from grids import Measurement, Numbers, read_numbers
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from names import METRICS, NOT_PUBLISHED, PERTURBATIONS, configuration_rank
from published_values import read_published

from clever.errors import UserError
from clever.results.records import read_records
from clever.results.run_description import read_runs
from clever.results.run_id import setting, unvaried

ITEM = "backbones_png"
COLUMNS = 3
PANEL = (3.0, 2.3)
"""Width and height of a panel in inches."""


class Place(NamedTuple):
    """One panel."""

    data: str
    backbone: str
    augmentation: str
    published: bool
    """Whether the panel shows published values on other data than the study's."""

    def rank(self) -> tuple[object, ...]:
        """Sort key: ours first, then backbones in the paper's order."""
        return (self.published, self.data, configuration_rank(self.backbone, "", self.augmentation))


Curve = dict[float, list[float]]
"""Maps the number of epochs to the values of all seeds."""


def measured_curves(numbers: Numbers, what: Measurement) -> dict[Place, dict[str, Curve]]:
    """Accuracy by panel, method and epochs, for methods trained for at least two different numbers of epochs.

    Raises:
        UserError: there is no such method.
    """
    found: dict[Place, dict[str, Curve]] = defaultdict(lambda: defaultdict(dict))
    for (row, measurement), seeds in numbers.measured.items():
        if (
            measurement != what
            or setting(row.method) is not None
            or (setting(row.augmentation) or ["epochs"])[0] != "epochs"
        ):
            continue
        for seed, value in seeds.items():
            epochs = numbers.runs.get(f"{'/'.join(row)}/seed{seed}", {}).get("epochs")
            if epochs:
                place = Place(row.data, row.backbone, unvaried(row.augmentation), published=False)
                found[place][row.method].setdefault(float(epochs), []).append(value)
    curves = {
        place: {method: curve for method, curve in methods.items() if len(curve) > 1}
        for place, methods in found.items()
    }
    curves = {place: methods for place, methods in curves.items() if methods}
    if not curves:
        raise UserError(
            f"no method was pre-trained for several numbers of epochs and has {what.metric} of {what.protocol} on "
            f"{what.perturbation}; add axes: {{optimisation.epochs: [...]}} to a block of pretrainings"
        )
    return curves


def published_curves(numbers: Numbers, what: Measurement) -> dict[Place, dict[str, Curve]]:
    """The values of Backbones.png, by panel, method and epochs."""
    rows = numbers.published[numbers.published["item"] == ITEM]
    rows = rows[(rows["perturbation"] == what.perturbation) & (rows["metric"] == what.metric)]
    rows = rows[(rows["protocol"] == what.protocol) & (rows["part"] == what.part)]
    found: dict[Place, dict[str, Curve]] = defaultdict(lambda: defaultdict(dict))
    for _, row in rows.iterrows():
        place = Place(str(row["data"]), str(row["backbone"]), str(row["augmentation"]), published=False)
        found[place][str(row["method"])][float(row["epochs"])] = [float(row["value"])]
    return found


def draw(numbers: Numbers, what: Measurement) -> Figure:
    """One panel per backbone: mean and standard deviation over seeds.

    Published values are hollow and dashed. Where the study has another data set, they have separate panels.
    """
    ours, printed = measured_curves(numbers, what), published_curves(numbers, what)
    shared = {place for place in printed if place in ours}
    elsewhere = {
        place._replace(published=True): methods
        for place, methods in printed.items()
        if place not in shared
        and place.data not in {one.data for one in ours}
        and any(len(c) > 1 for c in methods.values())
    }
    places = sorted([*ours, *elsewhere], key=Place.rank)
    looks = style.marks(method for methods in (*ours.values(), *printed.values()) for method in methods)
    columns = min(COLUMNS, len(places))
    rows = math.ceil(len(places) / columns)
    with style.house_style():
        width = max(5.6, PANEL[0] * columns + 0.4)
        figure = style.new_figure(width, PANEL[1] * rows + 1.35)
        grid = figure.subplots(rows, columns, squeeze=False)
        cells = list(grid.flat)
        for axes, place in zip(cells, places, strict=False):
            if place.published:
                axes.set_facecolor("#fafafa")
                _draw_curves(axes, elsewhere[place], looks, hollow=True)
            else:
                _draw_curves(axes, ours[place], looks, hollow=False)
                _draw_curves(axes, printed.get(place, {}), looks, hollow=True)
            axes.set_title(f"{place.backbone} · {place.augmentation}")
            where = "published" if place.published else place.data
            axes.set_title(where, loc="right", fontsize=8, fontweight="normal", color=style.MUTED)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        for axes in cells[len(places) :]:
            axes.set_visible(False)
        for row in grid:
            row[0].set_ylabel(f"{METRICS.get(what.metric, what.metric)} (%)\n{what.perturbation}")
        for column in range(columns):
            cells[max(range(column, len(places), columns))].set_xlabel("epochs of pre-training")
        figure.suptitle(
            f"Accuracy against epochs: {PERTURBATIONS.get(what.perturbation, what.perturbation)}",
            x=0.01,
            ha="left",
            fontsize=10.5,
            fontweight="bold",
        )
        shown = {method for methods in (*ours.values(), *elsewhere.values()) for method in methods}
        handles = _legend(
            {method: look for method, look in looks.items() if method in shown}, bool(shared or elsewhere)
        )
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=style.legend_columns([str(handle.get_label()) for handle in handles], width),
            title=_note(
                bool(shared), sorted({place.data for place in elsewhere}), sorted({place.data for place in ours})
            ),
            title_fontsize=8,
            alignment="left",
        )
    return figure


def _draw_curves(axes: Axes, methods: dict[str, Curve], looks: dict[str, style.Mark], hollow: bool) -> None:
    for method in sorted(methods):
        curve, look = methods[method], looks[method]
        epochs = sorted(curve)
        spread = [float(np.std(curve[one], ddof=1)) if len(curve[one]) > 1 else 0.0 for one in epochs]
        axes.errorbar(
            epochs,
            [float(np.mean(curve[one])) for one in epochs],
            yerr=spread if any(spread) else None,
            color=look.colour,
            marker=look.marker,
            markerfacecolor="white" if hollow else look.colour,
            markeredgecolor=look.colour if hollow else "white",
            markeredgewidth=1.0 if hollow else 0.6,
            linestyle=(0, (2, 1.5)) if hollow else "solid",
            linewidth=1.2 if hollow else 1.6,
            capsize=2.2,
            zorder=3 if hollow else 4,
        )


def _note(shared: bool, elsewhere: Sequence[str], data: Sequence[str]) -> str:
    lines = ["Every point: complete runs with their own schedule; bars: standard deviation over seeds"]
    if shared or elsewhere:
        lines.append("Published: read off Backbones.png of the authors' repository, ±0.1")
    if elsewhere:
        lines.append(f"Published values are on {', '.join(elsewhere)} and not comparable; on {', '.join(data)}:")
        lines[-1] += f" {NOT_PUBLISHED}"
    return "\n".join(lines)


def _legend(looks: dict[str, style.Mark], published: bool) -> list[Line2D]:
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, markeredgecolor="white", label=method)
        for method, look in looks.items()
    ]
    if published:
        dashed = {"linestyle": (0, (2, 1.5)), "linewidth": 1.2, "markerfacecolor": "white"}
        handles.append(Line2D([], [], color=style.INK, marker="o", label="published (hollow)", **dashed))  # type: ignore[arg-type]
    return handles


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    parser = make_parser(str(__doc__).splitlines()[0], style.SUFFIXES)
    add_records(parser)
    add_runs(parser)
    add_protocol(parser)
    parser.add_argument("--perturbation", help="perturbation to show (default: cj_rot, the paper's; else orig)")
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, style.SUFFIXES)
    runs = read_runs(arguments.runs) if arguments.runs else []
    numbers = read_numbers(read_records(arguments.records), read_published(arguments.published), runs)
    recorded = {what.perturbation for _, what in numbers.measured if what.protocol == arguments.protocol}
    perturbation = arguments.perturbation or ("cj_rot" if "cj_rot" in recorded else "orig")
    what = Measurement(arguments.protocol, arguments.part, perturbation, arguments.metric)
    for output in arguments.output:
        style.save(draw(numbers, what), output)


if __name__ == "__main__":
    run_script(main)
