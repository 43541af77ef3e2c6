"""Tables with any columns: measured means, differences paired by seed, and the published value of the same cell below.

A line names one record per column, and one to compare it with. Everything else (means, intervals, seeds, epochs of
pre-training, health, sources) follows from the records, the runs and the published values.
"""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from arguments import add_records, add_runs, check_suffixes, make_parser
from differences import Difference, paired_difference
from names import NOT_PUBLISHED, PERTURBATIONS, method_label, reference_of, seeds_label
from published_values import read_published
from summary import Configuration
from table_matrix import NOTHING, SUFFIXES, UNHEALTHY_MARK, difference_notes, unhealthy_notes
from tables import Kind, Row, Table, to_latex, to_markdown

from clever.files import write_text
from clever.results.records import read_records
from clever.results.run_description import read_runs, unhealthy_runs
from clever.results.run_id import setting, unvaried

VALUES_HEAD = "values"
CSV_HEADS = (
    *("table", "line", "column", "kind", "value", "std", "seeds"),
    *("difference", "low", "high", "epochs", "source"),
)
Seeds = Mapping[int, float]


class Measurement(NamedTuple):
    """What was measured."""

    protocol: str
    part: str = "ALL"
    perturbation: str = "orig"
    metric: str = "top1"


Key = tuple[Configuration, Measurement]


class Printed(NamedTuple):
    """A published value; ``std`` and ``epochs`` are NaN where the source states none."""

    value: float
    std: float
    epochs: float
    source: str


@dataclass(frozen=True)
class Line:
    """One row: its labels, one key per column, and the keys that they are compared with (None: nothing)."""

    labels: tuple[str, ...]
    keys: tuple[Key, ...]
    references: tuple[Key | None, ...]

    @property
    def kind(self) -> Kind:
        """``control`` or ``ours``."""
        return "control" if self.keys[0][0].is_control else "ours"


@dataclass(frozen=True)
class Grid:
    """One table before it is filled in. ``compared`` says what the differences are; without it there are none."""

    title: str
    caption: str
    label_heads: tuple[str, ...]
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    compared: str = ""
    notes: tuple[str, ...] = ()
    decimals: int = 1
    unit: str = "in points"
    """The unit of the differences, in words."""


@dataclass(frozen=True)
class Numbers:
    """All numbers that the lines of a grid may name."""

    measured: Mapping[Key, Seeds]
    printed: Mapping[Key, Printed]
    runs: Mapping[str, Mapping[str, Any]]
    unhealthy: Mapping[str, str]
    published: pd.DataFrame
    """All published values, as ``read_published`` returns them."""

    def difference(self, key: Key, reference: Key | None) -> Difference | None:
        """The difference paired by seed; None if there is nothing to compare with, or with itself."""
        if reference is None or reference == key or not self.measured.get(key) or not self.measured.get(reference):
            return None
        return paired_difference(_frame(self.measured[key]), _frame(self.measured[reference]))

    def augmentation_of(self, configuration: Configuration) -> str:
        """The kind (baug, caug, caug_plus, ...) of a configuration's augmentation, which the study may name
        differently."""
        prefix = "/".join(configuration) + "/"
        recipe: Mapping[str, Any] = next(
            (run["recipe"] for name, run in self.runs.items() if name.startswith(prefix)), {}
        )
        return str((recipe.get("augmentation") or {}).get("name", unvaried(configuration.augmentation)))

    def printed_for(self, key: Key) -> Printed | None:
        """The published value of a cell; an augmentation to which the study gives another name is found by its kind."""
        if key in self.printed or setting(key[0].augmentation) is not None:
            return self.printed.get(key)
        return self.printed.get((key[0]._replace(augmentation=self.augmentation_of(key[0])), key[1]))

    def where(self, configuration: Configuration, seeds: Iterable[int]) -> list[str]:
        """The run ids of a configuration."""
        return [f"{'/'.join(configuration)}/seed{seed}" for seed in sorted(seeds)]


def read_numbers(records: pd.DataFrame, published: pd.DataFrame, runs: Sequence[Mapping[str, Any]]) -> Numbers:
    """The last-epoch records and the published values by key.

    Args:
        records: from ``read_records``.
        published: from ``read_published``; where several tables print the same cell, the READMEs come first.
        runs: from ``read_runs``.
    """
    measured: dict[Key, dict[int, float]] = defaultdict(dict)
    last = records[records["selection"] == "last"]
    columns = ["data", "backbone", "method", "augmentation", "protocol", "part", "perturbation", "metric"]
    for *names, seed, value in last[[*columns, "seed", "value"]].itertuples(index=False, name=None):
        measured[Configuration(*names[:4]), Measurement(*names[4:])][int(seed)] = float(value)
    printed: dict[Key, Printed] = {}
    order = sorted(range(len(published)), key=lambda row: not str(published["item"].iloc[row]).endswith("_readme"))
    for _, row in published.iloc[order].iterrows():
        configuration = Configuration(*(str(row[name]) for name in columns[:4]))
        what = published_measurement(row)
        found = Printed(float(row["value"]), float(row["std"]), float(row["epochs"]), str(row["source"]))
        earlier = printed.setdefault((configuration, what), found)
        if math.isnan(earlier.std) and not math.isnan(found.std) and earlier[::2] == (found.value, found.epochs):
            # A README prints the value; Table 8 repeats it with its spread.
            source = f"{earlier.source}; standard deviation: {found.source}"
            printed[configuration, what] = Printed(found.value, found.std, found.epochs, source)
    return Numbers(measured, printed, {str(run["run"]): run for run in runs}, unhealthy_runs(runs), published)


def published_measurement(row: pd.Series) -> Measurement:
    """What a published value measures, named as in our records: a value on another data set belongs to the protocol
    ``transfer``."""
    protocol, part, perturbation, metric = (str(row[name]) for name in ("protocol", "part", "perturbation", "metric"))
    if row["evaluation_data"] != row["data"]:
        protocol = f"transfer_{protocol}+{row['evaluation_data']}"
    return Measurement(protocol, part, perturbation, metric)


def _frame(seeds: Seeds) -> pd.DataFrame:
    return pd.DataFrame({"seed": list(seeds), "value": list(seeds.values())})


def found_configurations(numbers: Numbers, wanted: Callable[[Measurement], bool]) -> list[Configuration]:
    """The configurations with a record that ``wanted`` accepts, in the order of tables, by data set."""
    found = {configuration for configuration, what in numbers.measured if wanted(what)}
    return sorted(found, key=lambda row: (row.data, row.rank()))


def baseline_of(configuration: Configuration) -> Configuration:
    """The same configuration with the baseline alone."""
    return configuration._replace(method=reference_of(configuration.method))


def labels_of(configuration: Configuration) -> tuple[str, str, str]:
    """Backbone, method and augmentation as a row shows them."""
    backbone, method = configuration.backbone, configuration.method
    return backbone, method_label(backbone, method), configuration.augmentation


def line_against_baseline(labels: tuple[str, ...], row: Configuration, columns: Iterable[Measurement]) -> Line:
    """A line with one cell per column, each compared with the whole vector of the same run with the baseline alone.

    A baseline alone has no parts: its whole vector is the reference of every part.
    """
    columns = tuple(columns)
    alone = baseline_of(row)
    return Line(
        labels, tuple((row, what) for what in columns), tuple((alone, what._replace(part="ALL")) for what in columns)
    )


def published_elsewhere(numbers: Numbers, item: str, rows: Iterable[Configuration]) -> pd.DataFrame:
    """The published values of an item on other data or backbones than those of ``rows``."""
    printed = numbers.published[numbers.published["item"] == item]
    ours = {(row.data, row.backbone) for row in rows}
    return printed[[pair not in ours for pair in zip(printed["data"], printed["backbone"], strict=True)]]


def perturbation_note(names: Iterable[str]) -> str:
    """A note that explains the perturbations."""
    known = [f"{name}: {PERTURBATIONS[name]}" for name in names if name in PERTURBATIONS]
    return f"Perturbations: {'; '.join(known)}."


def render(grid: Grid, numbers: Numbers) -> Table:
    """The grid with its numbers: a line for ours, and one below for values published for the same cells."""
    shown = {key for line in grid.lines for key in line.keys}
    sources = sorted({value.source for key in shown if (value := numbers.printed_for(key)) is not None})
    rows: list[Row] = []
    marked: dict[str, str] = {}
    intervals = 0
    for line in grid.lines:
        runs = [run for key in line.keys for run in numbers.where(key[0], numbers.measured.get(key, ()))]
        here = {run: numbers.unhealthy[run] for run in runs if run in numbers.unhealthy}
        marked |= here
        cells: list[str] = []
        for key, reference in zip(line.keys, line.references, strict=True):
            cells.append(format_seeds(numbers.measured.get(key, {}), grid.decimals))
            if grid.compared:
                difference = numbers.difference(key, reference)
                intervals += difference is not None and difference.seeds > 1
                cells.append(format_change(difference, grid.decimals))
        rows.append(Row((*line.labels, _values_label(line, runs, numbers, bool(here))), tuple(cells), line.kind))
        printed = [numbers.printed_for(key) for key in line.keys]
        if any(printed):
            texts = [format_printed(value) for value in printed]
            spaced = [text for value in texts for text in ((value, "") if grid.compared else (value,))]
            label = _printed_label([value for value in printed if value], sources)
            rows.append(Row((*line.labels, label), tuple(spaced), "published"))
    return Table(
        title=grid.title,
        caption=grid.caption,
        label_heads=(*grid.label_heads, VALUES_HEAD),
        value_heads=tuple(
            head
            for column in grid.columns
            for head in ((column, f"{column}: Δ [95 %]") if grid.compared else (column,))
        ),
        rows=tuple(rows),
        notes=tuple(_notes(grid, rows, sources, marked, intervals)),
    )


def _notes(
    grid: Grid, rows: Sequence[Row], sources: Sequence[str], marked: Mapping[str, str], intervals: int
) -> list[str]:
    notes = list(grid.notes)
    cells = [cell for row in rows for cell in row.cells]
    if grid.compared:
        notes += difference_notes(intervals, grid.unit, grid.compared)
    if NOTHING in cells:
        notes.append(f"{NOTHING} : not measured, or nothing to compare with.")
    notes += unhealthy_notes(marked)
    if sources:
        notes += [f"({number}) {source}." for number, source in enumerate(sources, start=1)]
        notes.append(f"Rows without a published row below them: {NOT_PUBLISHED}.")
    else:
        notes.append(f"Published values for these rows: {NOT_PUBLISHED}.")
    return notes


def _values_label(line: Line, runs: Sequence[str], numbers: Numbers, unhealthy: bool) -> str:
    counts = sorted({len(numbers.measured[key]) for key in line.keys if numbers.measured.get(key)})
    if not counts:
        return "ours: not measured"
    epochs = sorted({int(numbers.runs[run]["epochs"]) for run in runs if numbers.runs.get(run, {}).get("epochs")})
    trained = f"{'/'.join(map(str, epochs))} epochs, " if epochs else ""
    return f"ours, {trained}{seeds_label(counts[-1], counts[0])}" + (f" {UNHEALTHY_MARK}" if unhealthy else "")


def _printed_label(values: Sequence[Printed], sources: Sequence[str]) -> str:
    epochs = sorted({int(value.epochs) for value in values if not math.isnan(value.epochs)})
    numbers = sorted({sources.index(value.source) + 1 for value in values})
    trained = f", {'/'.join(map(str, epochs))} epochs" if epochs else ""
    return f"published{trained} ({','.join(map(str, numbers))})"


def format_seeds(seeds: Seeds, decimals: int = 1) -> str:
    """``71.3 ± 0.4``; without ± for a single seed, ``–`` if nothing was measured."""
    values = list(seeds.values())
    if not values:
        return NOTHING
    spread = f" ± {np.std(values, ddof=1):.{decimals}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{decimals}f}{spread}"


def format_change(difference: Difference | None, decimals: int = 1) -> str:
    """``+1.2 [+0.3, +2.1] *``; without an interval for a single seed."""
    if difference is None:
        return NOTHING
    mean, low, high = (f"{value:+.{decimals}f}" for value in (difference.mean, difference.low, difference.high))
    if math.isnan(difference.low):
        return mean
    return f"{mean} [{low}, {high}]" + ("" if difference.verdict == "undecided" else " *")


def format_printed(value: Printed | None) -> str:
    """A published value with its printed digits; empty where the source prints none."""
    if value is None:
        return ""
    text = f"{value.value:.2f}".removesuffix("0")
    return text + ("" if math.isnan(value.std) else f" ± {value.std:.3f}")


def elsewhere_table(title: str, note: str, values: pd.DataFrame, heads: Mapping[Measurement, str]) -> list[Table]:
    """Published values that have no row of ours, as one separate table; none if there are no such values.

    Args:
        title: the table's title.
        note: the table's caption, which says why the values are not next to ours.
        values: rows of ``read_published``.
        heads: the columns to show, by measurement; ``part`` is ignored, because each part has a row.
    """
    rows: list[Row] = []
    plain = {what._replace(part=""): head for what, head in heads.items()}
    sources = sorted(set(values["source"]))
    names = ["data", "backbone", "method_printed", "augmentation", "part", "epochs", "source"]
    for key, group in values.groupby(names, sort=False, dropna=False):
        data, backbone, method, augmentation, part, epochs, source = key
        found: dict[str, str] = {}
        for _, row in group.iterrows():
            what = published_measurement(row)._replace(part="")
            if what in plain:
                found[plain[what]] = format_printed(Printed(row["value"], row["std"], math.nan, ""))
        if found:
            trained = NOTHING if math.isnan(float(str(epochs))) else f"{float(str(epochs)):.0f}"
            label = f"published ({sources.index(str(source)) + 1})"
            labels = (str(data), str(backbone), str(method), str(augmentation) or NOTHING, str(part), trained, label)
            rows.append(Row(labels, tuple(found.get(head, "") for head in plain.values()), "published"))
    if not rows:
        return []
    heads_shown = ("pre-trained on", "backbone", "method, as printed", "augmentation", "part", "epochs", VALUES_HEAD)
    used = [f"({number}) {source}." for number, source in enumerate(sources, start=1)]
    return [Table(title, note, heads_shown, tuple(plain.values()), tuple(rows), tuple(used))]


def to_csv(grids: Sequence[Grid], numbers: Numbers) -> str:
    """The same numbers, tidy and unrounded, in the columns ``CSV_HEADS``."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, CSV_HEADS, restval="", lineterminator="\n")
    writer.writeheader()
    for grid in grids:
        for line in grid.lines:
            for column, key, reference in zip(grid.columns, line.keys, line.references, strict=True):
                common = {"table": grid.title, "line": ", ".join(line.labels), "column": column}
                seeds = list(numbers.measured.get(key, {}).values())
                if seeds:
                    difference = numbers.difference(key, reference)
                    writer.writerow(
                        common
                        | {"kind": line.kind, "value": repr(float(np.mean(seeds))), "seeds": len(seeds)}
                        | {"std": repr(float(np.std(seeds, ddof=1))) if len(seeds) > 1 else ""}
                        | _interval(difference)
                        | {"source": "this study"}
                    )
                printed = numbers.printed_for(key)
                if printed is not None:
                    writer.writerow(
                        common
                        | {"kind": "published", "value": repr(printed.value), "source": printed.source}
                        | {"std": "" if math.isnan(printed.std) else repr(printed.std)}
                        | {"epochs": "" if math.isnan(printed.epochs) else int(printed.epochs)}
                    )
    return stream.getvalue()


def _interval(difference: Difference | None) -> dict[str, str]:
    if difference is None:
        return {}
    named = {"difference": difference.mean, "low": difference.low, "high": difference.high}
    return {name: "" if math.isnan(value) else repr(value) for name, value in named.items()}


Build = Callable[[Numbers], tuple[list[Grid], list[Table]]]
"""Makes the grids, and the tables of values published elsewhere."""


def draw(build: Build, description: str, argv: Sequence[str] | None) -> None:
    """The command line of such a table: write every file of ``--output``."""
    parser = make_parser(description, SUFFIXES)
    add_records(parser)
    add_runs(parser)
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, SUFFIXES)
    published = read_published(arguments.published)
    runs = read_runs(arguments.runs) if arguments.runs else []
    numbers = read_numbers(read_records(arguments.records), published, runs)
    grids, others = build(numbers)
    tables = [*(render(grid, numbers) for grid in grids), *others]
    for output in arguments.output:
        if output.suffix == ".csv":
            write_text(output, to_csv(grids, numbers))
        else:
            write_text(output, to_markdown(tables) if output.suffix == ".md" else to_latex(tables))
