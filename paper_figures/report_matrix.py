"""The tables that the report makes from records: a row for each configuration, with its difference from the
baseline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import measures
import pandas as pd
from differences import Difference, paired_difference
from names import PERTURBATIONS, PROTOCOLS, method_label, part_rank, perturbation_rank, reference_of
from summary import Configuration

BEST_EPOCH = "†"
MOST_COLUMNS = 40
"""A wider table cannot be read. A protocol with more columns is shown by its main metric alone."""
NOTHING = "–"


class Column(NamedTuple):
    """What a column of a table measures."""

    protocol: str
    metric: str
    perturbation: str
    selection: str

    @property
    def is_plain(self) -> bool:
        """Whether the column shows the last epoch, on which all verdicts are based."""
        return self.selection == "last"


@dataclass(frozen=True)
class MatrixCell:
    """One value as text."""

    text: str = NOTHING
    delta: str = ""
    interval: str = ""
    is_best: bool = False


@dataclass(frozen=True)
class MatrixRow:
    """One configuration, or one part of its representation.

    ``axes`` are its labels after the first, and ``small`` the same in one line, for a narrow screen.
    """

    label: str
    small: str
    axes: tuple[str, ...]
    cells: tuple[MatrixCell, ...]
    is_control: bool
    is_unhealthy: bool

    @property
    def kind(self) -> str:
        """The row's classes in the page."""
        return " ".join(["control"] * self.is_control + ["unhealthy"] * self.is_unhealthy)


@dataclass(frozen=True)
class Matrix:
    """A table of the page; ``facts`` hold for every row, ``notes`` explain its marks."""

    title: str
    facts: str
    axis_heads: tuple[str, ...]
    value_heads: tuple[str, ...]
    rows: tuple[MatrixRow, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Place:
    """A row before it is written: its configuration, and the part of the representation."""

    configuration: Configuration
    part: str


def main_columns(records: pd.DataFrame) -> list[Column]:
    """The columns of the main table: the first main protocol on record, with its main metric at the last epoch."""
    protocols = sorted(set(records["protocol"]), key=measures.protocol_rank)
    first = measures.family(protocols[0])
    # The variants of these protocols measure one quantity in several ways, so they are shown side by side.
    wanted = [
        name for name in protocols if measures.family(name) == first and first in ("knn", "semi", "transfer", "latents")
    ]
    chosen = records[records["protocol"].isin(wanted or protocols[:1]) & (records["selection"] == "last")]
    metric = measures.main_metric(set(chosen["metric"]))
    return [column for column in columns_of(chosen) if column.metric == metric]


def columns_of(records: pd.DataFrame) -> list[Column]:
    """Every column that records can fill, in order."""
    found = records[["protocol", "metric", "perturbation", "selection"]].drop_duplicates()

    def rank(column: Column) -> tuple[object, ...]:
        return (
            measures.protocol_rank(column.protocol),
            measures.metric_rank(column.metric),
            not column.is_plain,
            perturbation_rank(column.perturbation),
        )

    return sorted((Column(*map(str, row)) for row in found.itertuples(index=False, name=None)), key=rank)


def main_matrices(
    records: pd.DataFrame, epochs: Mapping[str, int], unhealthy: Iterable[str], columns: Sequence[Column]
) -> list[Matrix]:
    """The main table, one per data set, for the whole representation.

    Args:
        records: from ``read_records``.
        epochs: maps run ids to epochs of pre-training.
        unhealthy: ids of the runs whose numbers say little.
        columns: from ``main_columns``.
    """
    chosen = records[records["part"] == "ALL"]
    return [
        _matrix(str(data), rows, epochs, set(unhealthy), columns, by_part=False)
        for data, rows in chosen.groupby("data", sort=True)
    ]


def protocol_matrices(
    records: pd.DataFrame, epochs: Mapping[str, int], unhealthy: Iterable[str]
) -> list[tuple[str, list[Matrix]]]:
    """(protocol, one table per data set) with every part, metric and perturbation that was measured.

    A table of more than ``MOST_COLUMNS`` columns has those of the main metric and the last epoch alone.
    """
    found = []
    for protocol in sorted(set(records["protocol"]), key=measures.protocol_rank):
        chosen = records[records["protocol"] == protocol]
        tables = []
        for data, rows in chosen.groupby("data", sort=True):
            columns = columns_of(rows)
            shown = _readable(columns)
            table = _matrix(str(data), rows, epochs, set(unhealthy), shown, by_part=True)
            more = len(columns) - len(shown)
            note = f"The main metric of the protocol; {more} further columns are in records.csv."
            tables.append(replace(table, notes=(*table.notes, note)) if more else table)
        found.append((str(protocol), tables))
    return found


def _readable(columns: Sequence[Column]) -> list[Column]:
    if len(columns) <= MOST_COLUMNS:
        return list(columns)
    metric = measures.main_metric({column.metric for column in columns})
    return [column for column in columns if column.metric == metric and column.is_plain]


def protocol_name(protocol: str) -> str:
    """``Linear probe``; ``Weighted kNN, 20`` and ``Latents, averaged`` for variants."""
    name = measures.family(protocol)
    variant = protocol.removeprefix(name).lstrip("+")
    return PROTOCOLS.get(name, name) + (f", {variant}" if variant else "")


def _matrix(
    data: str,
    records: pd.DataFrame,
    epochs: Mapping[str, int],
    unhealthy: set[str],
    columns: Sequence[Column],
    *,
    by_part: bool,
) -> Matrix:
    keys = ["backbone", "method", "augmentation", "part", "protocol", "metric", "perturbation", "selection"]
    by_key = {tuple(map(str, key)): group for key, group in records.groupby(keys, sort=False)}
    groups = {key: group for key, group in by_key.items() if Column(*key[4:]) in columns}
    places = {_Place(Configuration(data, *key[:3]), key[3]) for key in groups}
    order = sorted(places, key=lambda place: (place.configuration.rank(), part_rank(place.part)))
    trained = [place.configuration for place in order if not place.configuration.is_control]
    shared = _shared(trained)
    seeds = {place: _counts(groups, place, columns) for place in order}
    runs: dict[_Place, set[str]] = {place: set() for place in order}
    for key, group in groups.items():
        runs[_Place(Configuration(data, *key[:3]), key[3])].update(map(str, group["run"]))
    trained_for = {place: sorted({epochs.get(run, 0) for run in runs[place]} - {0}) for place in order}
    schedules = {place: "/".join(map(str, counts)) for place, counts in trained_for.items()}
    common_seeds = _only({seeds[place] for place in order if not place.configuration.is_control})
    common_epochs = _only({schedules[place] for place in order if not place.configuration.is_control})
    heads = [axis for axis in ("backbone", "augmentation") if axis not in shared] + ["part"] * by_part
    heads += ["epochs"] * (common_epochs is None) + ["seeds"] * (common_seeds is None)
    best = {column: _best(groups, order, column) for column in columns}
    rows = []
    for place in order:
        where = place.configuration
        axes = [getattr(where, axis) for axis in ("backbone", "augmentation") if axis not in shared]
        axes += [place.part] * by_part
        axes += [schedules[place]] * (common_epochs is None) + [seeds[place]] * (common_seeds is None)
        cells = tuple(_cell(groups, place, column, best[column]) for column in columns)
        label = method_label(where.backbone, where.method)
        rows.append(
            MatrixRow(label, _small(heads, axes), tuple(axes), cells, where.is_control, bool(runs[place] & unhealthy))
        )
    counts = sorted({int(count) for group in groups.values() for count in group["n"]})
    tested = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    facts = [f"Data: {data}", f"tested on n = {tested}"]
    facts += [f"{axis}: {value}" for axis, value in shared.items()]
    facts += [] if by_part else ["the whole representation (ALL)"]
    facts += [f"{common_epochs} epochs of pre-training"] if common_epochs else []
    facts += [f"{common_seeds} seeds" if common_seeds != "1" else "1 seed"] if common_seeds else []
    return Matrix(
        title=f"{_title(columns)}: {data}",
        facts="; ".join(facts) + ".",
        axis_heads=tuple(heads),
        value_heads=tuple(_heads(columns)),
        rows=tuple(rows),
        notes=tuple(_notes(columns, rows)),
    )


def _small(heads: Sequence[str], axes: Sequence[str]) -> str:
    """``vit_micro, caug, 13 epochs``: values that are not obvious by themselves are named."""
    named = {"epochs", "seeds"}
    pairs = zip(heads, axes, strict=True)
    return ", ".join(f"{axis} {head}" if head in named else axis for head, axis in pairs if axis and axis != "none")


def _shared(trained: Sequence[Configuration]) -> dict[str, str]:
    """Backbone and augmentation, each only if all trained rows share it."""
    found = {}
    for axis in ("backbone", "augmentation"):
        values = {getattr(where, axis) for where in trained}
        if len(values) == 1:
            found[axis] = values.pop()
    return found


def _only(values: set[str]) -> str | None:
    """The value that all share; ``""`` if there is none at all, None if they differ."""
    return None if len(values) > 1 else next(iter(values), "")


def _get(groups: Mapping[tuple[str, ...], pd.DataFrame], place: _Place, column: Column) -> pd.DataFrame | None:
    return groups.get((*place.configuration[1:], place.part, *column))


def _counts(groups: Mapping[tuple[str, ...], pd.DataFrame], place: _Place, columns: Sequence[Column]) -> str:
    found = [_get(groups, place, column) for column in columns]
    counts = sorted({len(group) for group in found if group is not None})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"


def _best(groups: Mapping[tuple[str, ...], pd.DataFrame], order: Sequence[_Place], column: Column) -> float:
    """The best mean of a column among trained rows; NaN if there are fewer than two."""
    trained = [place for place in order if not place.configuration.is_control]
    found = [group for place in trained if (group := _get(groups, place, column)) is not None]
    means = [float(group["value"].mean()) for group in found]
    if len(means) < 2:
        return math.nan
    return min(means) if measures.lower_is_better(column.metric) else max(means)


def _cell(groups: Mapping[tuple[str, ...], pd.DataFrame], place: _Place, column: Column, best: float) -> MatrixCell:
    group = _get(groups, place, column)
    if group is None:
        return MatrixCell()
    digits, mean = measures.decimals(column.metric), float(group["value"].mean())
    spread = f" ± {group['value'].std(ddof=1):.{digits}f}" if len(group) > 1 else ""
    difference = _difference(groups, place, column)
    delta, interval = "", ""
    if difference is not None:
        delta = f"{difference.mean:+.{digits}f}"
        if difference.seeds > 1:
            interval = f"[{difference.low:+.{digits}f}, {difference.high:+.{digits}f}]"
            delta += "*" if difference.verdict != "undecided" else ""
    is_best = mean == best and not place.configuration.is_control
    return MatrixCell(f"{mean:.{digits}f}{spread}", delta, interval, is_best)


def _difference(groups: Mapping[tuple[str, ...], pd.DataFrame], place: _Place, column: Column) -> Difference | None:
    """The method minus its baseline alone, for the same part and paired by seed; None if there is no such pair."""
    alone = reference_of(place.configuration.method)
    if alone == place.configuration.method or not column.is_plain:
        return None
    group = _get(groups, place, column)
    other = _get(groups, _Place(place.configuration._replace(method=alone), place.part), column)
    if group is None or other is None:
        return None
    return paired_difference(group[["seed", "value"]], other[["seed", "value"]])


def _title(columns: Sequence[Column]) -> str:
    """Protocol and metric, each if all columns share it."""
    protocols = list(dict.fromkeys(column.protocol for column in columns))
    names = {measures.family(name) for name in protocols}
    what = [protocol_name(protocols[0] if len(protocols) == 1 else names.pop())]
    metrics = {column.metric for column in columns}
    return ", ".join(what + [measures.metric_name(metric) for metric in metrics if len(metrics) == 1])


def _heads(columns: Sequence[Column]) -> list[str]:
    """What distinguishes the columns: protocol variant, metric and perturbation."""
    several = {name: len({getattr(column, name) for column in columns}) > 1 for name in Column._fields}
    heads = []
    for column in columns:
        words = [column.protocol] if several["protocol"] else []
        words += [column.metric] if several["metric"] else []
        words += [column.perturbation] if several["perturbation"] or not words else []
        heads.append(", ".join(words) + ("" if column.is_plain else f", best epoch {BEST_EPOCH}"))
    return heads


def _notes(columns: Sequence[Column], rows: Sequence[MatrixRow]) -> list[str]:
    known = dict.fromkeys(column.perturbation for column in columns if column.perturbation in PERTURBATIONS)
    cells = [cell for row in rows for cell in row.cells]
    falling = sorted({column.metric for column in columns if measures.lower_is_better(column.metric)})
    several = any("±" in cell.text for cell in cells)
    notes = ["Mean ± standard deviation over seeds." if several else "One seed per row."]
    if any(cell.delta for cell in cells):
        notes.append(
            "Second line: the method minus its baseline alone, paired by seed"
            + (
                ", with the 95 % interval of Student's t over seeds; * marks intervals that exclude 0, without a "
                "correction for their number."
                if any(cell.interval for cell in cells)
                else "."
            )
        )
    if falling:
        notes.append(f"Lower is better: {', '.join(map(measures.metric_name, falling))}.")
    if any(cell.is_best for cell in cells):
        notes.append("Bold on a tint: the best trained row of the column.")
    if any(not column.is_plain for column in columns):
        notes.append(f"{BEST_EPOCH} Best epoch of the probe, chosen on the test images and therefore optimistic.")
    if any(cell.text == NOTHING for cell in cells):
        notes.append(f"{NOTHING} Not measured.")
    if known:
        notes.append("Perturbations: " + "; ".join(f"{name}: {PERTURBATIONS[name]}" for name in known) + ".")
    return notes
