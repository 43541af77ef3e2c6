"""The quality figure: which measures without a classifier rank the runs of a study as the linear probe does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import style
from arguments import add_records, check_suffixes, make_parser, run_script
from differences import CONFIDENCE
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

from clever.errors import UserError
from clever.results.records import read_records
from clever.results.run_id import UNTRAINED

MEASURES = {
    "rankme": ("RankMe", "+"),
    "lidar": ("LiDAR", "+"),
    "alpha_req": ("|α-ReQ − 1|", "−"),
    "alignment": ("alignment", "−"),
    "uniformity": ("uniformity", "−"),
    "tolerance": ("tolerance", ""),
    "penalty_entropy": ("penalty entropy", ""),
}
"""The name of each measure, and the sign of the correlation that its authors expect."""
RESAMPLES = 2000
FEWEST = 4
"""The fewest configurations for an interval, and the fewest runs for a correlation."""
POOLED = "all backbones"


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation over ``runs`` runs; NaN bounds where there are too few configurations."""

    value: float
    low: float
    high: float
    runs: int


def pairs(records: pd.DataFrame) -> pd.DataFrame:
    """One row for each trained run: data, backbone, configuration, ``accuracy`` and each measure of ALL.

    ``accuracy`` is the linear probe's top-1 on orig at the last epoch.

    Raises:
        UserError: no run has both.
    """
    trained = records[(records["method"] != UNTRAINED) & (records["selection"] == "last") & (records["part"] == "ALL")]
    probe = trained[
        (trained["protocol"] == "linear") & (trained["perturbation"] == "orig") & (trained["metric"] == "top1")
    ]
    quality = trained[trained["protocol"] == "quality"].pivot_table(index="run", columns="metric", values="value")
    table = probe.set_index("run")[["data", "backbone", "method", "augmentation", "value"]].join(quality, how="inner")
    if table.empty:
        raise UserError(
            "no trained run has records of both protocols, linear and quality; train one, or add both to evaluations"
        )
    table["configuration"] = table["backbone"] + "/" + table["method"] + "/" + table["augmentation"]
    if "alpha_req" in table:
        table["alpha_req"] = (table["alpha_req"] - 1.0).abs()
    return table.rename(columns={"value": "accuracy"})


def correlate(table: pd.DataFrame, measure: str) -> Correlation | None:
    """The rank correlation of a measure and the accuracy over runs, with a percentile bootstrap interval.

    Configurations are resampled, each with all of its seeds, because seeds of one configuration are alike. None for
    fewer than ``FEWEST`` runs, or if either does not vary.
    """
    table = table.dropna(subset=[measure]) if measure in table else table.iloc[:0]
    value = _spearman(table[["accuracy", measure]].to_numpy()) if len(table) >= FEWEST else math.nan
    if math.isnan(value):
        return None
    groups = [group[["accuracy", measure]].to_numpy() for _, group in table.groupby("configuration", sort=True)]
    low = high = math.nan
    if len(groups) >= FEWEST:
        draw = np.random.default_rng(0)
        drawn = [
            _spearman(np.concatenate([groups[number] for number in draw.integers(len(groups), size=len(groups))]))
            for _ in range(RESAMPLES)
        ]
        # A sample may hold one configuration only, whose runs may be equal; it then has no correlation.
        defined = [one for one in drawn if not math.isnan(one)]
        low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Correlation(value, float(low), float(high), len(table))


def _spearman(columns: np.ndarray) -> float:
    first, second = (stats.rankdata(column) for column in columns.T)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(np.corrcoef(first, second)[0, 1])


def correlations(table: pd.DataFrame) -> dict[str, dict[str, dict[str, Correlation]]]:
    """Map data sets to groups (all backbones, then each) to measures."""
    found: dict[str, dict[str, dict[str, Correlation]]] = {}
    for data, here in table.groupby("data", sort=True):
        backbones = sorted(set(here["backbone"]))
        groups = {POOLED: here} if len(backbones) > 1 else {}
        groups |= {backbone: here[here["backbone"] == backbone] for backbone in backbones}
        for group, rows in groups.items():
            for measure in MEASURES:
                correlation = correlate(rows, measure)
                if correlation is not None:
                    found.setdefault(str(data), {}).setdefault(group, {})[measure] = correlation
    return found


def draw(found: Mapping[str, Mapping[str, Mapping[str, Correlation]]]) -> Figure:
    """One panel per data set, one row per measure, one mark with its interval per group of runs.

    Without a correlation, the figure says what is missing.
    """
    if not found:
        return _nothing()
    groups = list(dict.fromkeys(group for panel in found.values() for group in panel))
    looks = dict(zip(groups, (style.Mark(style.INK, "o"), *style.SPARE_MARKS), strict=False))
    shown = [
        measure for measure in MEASURES if any(measure in rows for panel in found.values() for rows in panel.values())
    ]
    width = 2.6 + 3.4 * len(found)
    with style.house_style():
        figure = style.new_figure(width, 1.7 + 0.45 * len(shown))
        grid = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
        for axes, (data, panel) in zip(grid, found.items(), strict=True):
            for index, group in enumerate(groups):
                rows = panel.get(group, {})
                shift = 0.16 * ((len(groups) - 1) / 2 - index)
                for place, measure in enumerate(shown):
                    if measure in rows:
                        _draw_mark(axes, rows[measure], -place + shift, looks[group])
            axes.axvline(0.0, color=style.INK, linewidth=0.9, zorder=1)
            axes.set_xlim(-1.05, 1.05)
            axes.set_title(data)
            axes.set_xlabel("rank correlation with linear top-1")
            axes.grid(visible=False, axis="y")
            axes.set_yticks([-place for place in range(len(shown))], [_label(measure) for measure in shown])
        title = "Which measures rank the runs as the linear probe does?"
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        labels = {group: f"{group}: {_counts(found, group)} runs" for group in groups}
        handles = [
            Line2D([], [], color=looks[group].colour, marker=looks[group].marker, linestyle="none", label=label)
            for group, label in labels.items()
        ]
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=style.legend_columns(labels.values(), width),
            title=f"{100 * CONFIDENCE:.0f} % bootstrap intervals over configurations; (+), (−): expected sign",
            title_fontsize=8,
            alignment="left",
        )
    return figure


def _nothing() -> Figure:
    with style.house_style():
        figure = style.new_figure(6.0, 1.2)
        text = f"No data set has {FEWEST} trained runs that differ in both accuracy and a measure."
        figure.text(0.5, 0.5, text, ha="center", va="center", color=style.MUTED)
    return figure


def _draw_mark(axes: Axes, one: Correlation, place: float, look: style.Mark) -> None:
    reach = None if math.isnan(one.low) else [[max(0.0, one.value - one.low)], [max(0.0, one.high - one.value)]]
    axes.errorbar(
        [one.value], [place], xerr=reach, color=look.colour, marker=look.marker, capsize=2.5, elinewidth=1.4, zorder=4
    )


def _label(measure: str) -> str:
    words, sign = MEASURES[measure]
    return f"{words} ({sign})" if sign else words


def _counts(found: Mapping[str, Mapping[str, Mapping[str, Correlation]]], group: str) -> str:
    counts = sorted({one.runs for panel in found.values() for one in panel.get(group, {}).values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    parser = make_parser(str(__doc__), style.SUFFIXES)
    add_records(parser)
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, style.SUFFIXES)
    found = correlations(pairs(read_records(arguments.records)))
    for output in arguments.output:
        style.save(draw(found), output)


if __name__ == "__main__":
    run_script(main)
