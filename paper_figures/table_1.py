"""The main table: backbone, method and training augmentation against perturbation, with published values."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from arguments import add_protocol, add_records, add_runs, check_suffixes, make_parser, run_script
from names import METRICS, NOT_PUBLISHED, PERTURBATIONS, PROTOCOLS, method_label, perturbation_rank, seeds_label
from published_values import read_published
from summary import Cell, Configuration, Measured, Published, configurations, elsewhere, published_cells, summarise
from tables import Kind, Row, Table, to_latex, to_markdown

from clever.files import write_text
from clever.results.records import read_records
from clever.results.run_description import read_runs, unhealthy_runs

SUFFIXES = (".md", ".csv", ".tex")
LABEL_HEADS = ("backbone", "method", "augmentation", "values")
NOT_MEASURED = "–"
NOT_PRINTED = "n. p."
BEST_MARK = "†"
UNHEALTHY_MARK = "‡"
CSV_HEADS = (
    "data",
    "backbone",
    "method",
    "augmentation",
    "kind",
    "protocol",
    "part",
    "metric",
    "perturbation",
    "selection",
    "value",
    "std",
    "seeds",
    "images",
    "epochs",
    "healthy",
    "source",
)

Runs = Mapping[str, Mapping[str, Any]]
PublishedCells = Mapping[tuple[Configuration, str], Published]


def format_measured(measured: Measured | None) -> str:
    """``71.3 ± 0.4``; without ± for a single seed, ``–`` if nothing was measured."""
    if measured is None:
        return NOT_MEASURED
    return f"{measured.mean:.1f}" + ("" if math.isnan(measured.std) else f" ± {measured.std:.1f}")


def format_published(value: Published | None) -> str:
    """The value with the printed number of digits, ``n. p.`` if the source prints none."""
    if value is None:
        return NOT_PRINTED
    return f"{value.value:.1f}" + ("" if math.isnan(value.std) else f" ± {value.std:.3f}")


def build_tables(
    cells: Mapping[Cell, Measured],
    published: PublishedCells,
    runs: Sequence[Mapping[str, Any]] = (),
    *,
    protocol: str,
    part: str,
    metric: str,
) -> list[Table]:
    """One table per data set of the study, then separate tables for values published on other data sets."""
    by_run = {str(run["run"]): run for run in runs}
    names = sorted({cell.configuration.data for cell in cells})
    what = f"{PROTOCOLS.get(protocol, protocol)}, {METRICS.get(metric, metric)}"
    tables = [_measured_table(data, dict(cells), published, by_run, what, part) for data in names]
    rows = [row for data in names for row in configurations(dict(cells), data)]
    other = elsewhere(dict(published), rows)
    for data in sorted({configuration.data for configuration, _ in other}):
        here = {key: value for key, value in other.items() if key[0].data == data}
        tables.append(_published_table(data, here, names, what))
    return tables


def _measured_table(
    data: str, cells: dict[Cell, Measured], published: PublishedCells, runs: Runs, what: str, part: str
) -> Table:
    rows = configurations(cells, data)
    here = {cell: measured for cell, measured in cells.items() if cell.configuration.data == data}
    comparable = {key: value for key, value in published.items() if key[0] in rows}
    last = {cell.perturbation for cell in here if cell.selection == "last"} | {name for _, name in comparable}
    best = {cell.perturbation for cell in here if cell.selection == "best"}
    columns = [(name, "last") for name in sorted(last, key=perturbation_rank)]
    columns += [(name, "best") for name in sorted(best, key=perturbation_rank)]
    published_here = any(configuration.data == data for configuration, _ in published)
    sources = _all_sources(comparable)
    unhealthy = unhealthy_runs(runs.values())
    lines: list[Row] = []
    marked: dict[str, str] = {}
    for row in rows:
        values = [here.get(Cell(row, name, selection)) for name, selection in columns]
        row_runs = sorted({run for measured in values if measured for run in measured.runs})
        marked.update({run: unhealthy[run] for run in row_runs if run in unhealthy})
        labels = (
            row.backbone,
            method_label(row.backbone, row.method),
            row.augmentation,
            _values_label(values, row_runs, runs, unhealthy),
        )
        kind: Kind = "control" if row.is_control else "ours"
        lines.append(Row(labels, tuple(format_measured(value) for value in values), kind))
        if published_here and not row.is_control:
            lines.append(_published_row(row, columns, comparable, sources))
    return Table(
        title=f"{what} under test-time perturbations: {data}",
        caption=(
            f"Data: {data}, {_images_label(here)}. Accuracy in percent, representation: {part}; "
            "mean ± standard deviation over seeds. Columns without a mark: the last epoch of the probe."
        ),
        label_heads=LABEL_HEADS,
        value_heads=tuple(name if selection == "last" else f"{name}, best {BEST_MARK}" for name, selection in columns),
        rows=tuple(lines),
        notes=tuple(_notes(columns, lines, comparable, sources, marked, data if not published_here else None)),
    )


def _values_label(
    values: Sequence[Measured | None], row_runs: Sequence[str], runs: Runs, unhealthy: Mapping[str, str]
) -> str:
    counts = sorted({measured.seeds for measured in values if measured})
    if not counts:
        return "ours: not measured"
    label = seeds_label(counts[0]) if len(counts) == 1 else f"{counts[0]}–{seeds_label(counts[-1])}"
    epochs = sorted({int(runs[run]["epochs"]) for run in row_runs if run in runs and runs[run].get("epochs")})
    trained = f"{'/'.join(map(str, epochs))} epochs, " if epochs else ""
    mark = f" {UNHEALTHY_MARK}" if any(run in unhealthy for run in row_runs) else ""
    return f"ours, {trained}{label}{mark}"


def _published_row(
    row: Configuration, columns: Sequence[tuple[str, str]], comparable: PublishedCells, sources: Sequence[str]
) -> Row:
    """The published row below ours. Best-epoch columns stay empty: the sources do not mark best-epoch values."""
    values = [comparable.get((row, name)) if selection == "last" else None for name, selection in columns]
    printed = [value for value in values if value]
    texts = tuple(
        format_published(value) if selection == "last" else ""
        for value, (_, selection) in zip(values, columns, strict=True)
    )
    label = _published_label(printed, sources) if printed else NOT_PUBLISHED
    return Row((row.backbone, row.method, row.augmentation, label), texts, "published")


def _published_label(values: Sequence[Published], sources: Sequence[str]) -> str:
    epochs = sorted({int(value.epochs) for value in values if not math.isnan(value.epochs)})
    numbers = ",".join(
        str(number)
        for number, source in enumerate(sources, start=1)
        if any(source in value.sources for value in values)
    )
    trained = f", {'/'.join(map(str, epochs))} epochs" if epochs else ""
    return f"published{trained} ({numbers})"


def _images_label(cells: Mapping[Cell, Measured]) -> str:
    counts = sorted({count for measured in cells.values() for count in measured.images})
    low, high = f"{counts[0]:,}", f"{counts[-1]:,}"
    return f"tested on n = {low} images" if low == high else f"tested on n = {low} to {high} images"


def _notes(
    columns: Sequence[tuple[str, str]],
    lines: Sequence[Row],
    comparable: PublishedCells,
    sources: Sequence[str],
    marked: Mapping[str, str],
    unpublished_data: str | None,
) -> list[str]:
    known = dict.fromkeys(name for name, _ in columns if name in PERTURBATIONS)
    notes = ["Perturbations: " + "; ".join(f"{name}: {PERTURBATIONS[name]}" for name in known) + "."]
    cells = {cell for line in lines for cell in line.cells}
    if NOT_MEASURED in cells:
        notes.append(f"{NOT_MEASURED} : not measured.")
    if any(line.kind != "published" and "±" not in "".join(line.cells) for line in lines):
        notes.append("No ± : a single seed.")
    if any(selection == "best" for _, selection in columns):
        notes.append(f"{BEST_MARK} Best epoch of the probe, chosen on the test images and therefore optimistic.")
    if marked:
        reasons = "; ".join(f"{run}: {reason}" for run, reason in sorted(marked.items()))
        notes.append(f"{UNHEALTHY_MARK} Unhealthy run; its numbers say little about the method. {reasons}.")
    if unpublished_data is not None:
        notes.append(f"Published values on {unpublished_data}: {NOT_PUBLISHED}.")
    if NOT_PRINTED in cells:
        notes.append(f"{NOT_PRINTED} : {NOT_PUBLISHED}.")
    notes += _source_notes(sources, comparable)
    return notes


def _all_sources(values: PublishedCells) -> list[str]:
    return sorted({source for value in values.values() for source in value.sources})


def _source_notes(sources: Sequence[str], values: PublishedCells) -> list[str]:
    notes = [f"({number}) {source}." for number, source in enumerate(sources, start=1)]
    if any(configuration.method in ("dino", "dino+clever") for configuration, _ in values):
        notes.append(
            "The authors' script prints the best epoch on the test images for orig and uses the last epoch's "
            "classifier for every perturbation (eval_linear.py:326,347)."
        )
    return notes


def _published_table(data: str, values: PublishedCells, ours: Sequence[str], what: str) -> Table:
    names = sorted({name for _, name in values}, key=perturbation_rank)
    sources = _all_sources(values)
    lines = []
    for row in sorted({configuration for configuration, _ in values}, key=Configuration.rank):
        found = [values.get((row, name)) for name in names]
        label = _published_label([value for value in found if value], sources)
        texts = tuple(format_published(value) for value in found)
        lines.append(Row((row.backbone, row.method, row.augmentation, label), texts, "published"))
    notes = ["Perturbations: " + "; ".join(f"{name}: {PERTURBATIONS[name]}" for name in names) + "."]
    if any(NOT_PRINTED in line.cells for line in lines):
        notes.append(f"{NOT_PRINTED} : {NOT_PUBLISHED}.")
    return Table(
        title=f"Published values on a different data set: {data}",
        caption=(
            f"Data: {data}. Not comparable with our numbers on {', '.join(ours)}; shown to document the paper's claim. "
            f"{what} in percent, representation: ALL, as printed in the sources. ± : spread as printed; the source "
            "does not state the number of repeats."
        ),
        label_heads=LABEL_HEADS,
        value_heads=tuple(names),
        rows=tuple(lines),
        notes=(*notes, *_source_notes(sources, values)),
    )


def to_csv(
    cells: Mapping[Cell, Measured],
    published: PublishedCells,
    runs: Sequence[Mapping[str, Any]] = (),
    *,
    protocol: str,
    part: str,
    metric: str,
) -> str:
    """The same numbers, tidy and unrounded, one per row; ``kind`` is ours, control or published."""
    by_run = {str(run["run"]): run for run in runs}
    unhealthy = unhealthy_runs(runs)
    names = sorted({cell.configuration.data for cell in cells})
    stream = io.StringIO()
    writer = csv.DictWriter(stream, CSV_HEADS, restval="", lineterminator="\n")
    writer.writeheader()
    common = {"protocol": protocol, "part": part, "metric": metric}
    every_row = [row for data in names for row in configurations(dict(cells), data)]
    for row in every_row:
        kind = "control" if row.is_control else "ours"
        found = sorted(
            (cell for cell in cells if cell.configuration == row),
            key=lambda cell: (cell.selection != "last", perturbation_rank(cell.perturbation)),
        )
        if not found:
            writer.writerow({**row._asdict(), **common, "kind": kind, "source": "not measured"})
        for cell in found:
            measured = cells[cell]
            epochs = sorted({str(by_run[run]["epochs"]) for run in measured.runs if by_run.get(run, {}).get("epochs")})
            writer.writerow(
                {
                    **row._asdict(),
                    **common,
                    "kind": kind,
                    "perturbation": cell.perturbation,
                    "selection": cell.selection,
                    "value": repr(measured.mean),
                    "std": "" if math.isnan(measured.std) else repr(measured.std),
                    "seeds": measured.seeds,
                    "images": "/".join(map(str, measured.images)),
                    "epochs": "/".join(epochs),
                    "healthy": ""
                    if not runs or row.is_control
                    else str(not unhealthy.keys() & set(measured.runs)).lower(),
                    "source": "this study",
                }
            )
    shown = {key: value for key, value in published.items() if key[0] in every_row}
    for (configuration, perturbation), value in sorted(
        {**shown, **elsewhere(dict(published), every_row)}.items(),
        key=lambda item: (item[0][0].data, item[0][0].rank(), perturbation_rank(item[0][1])),
    ):
        writer.writerow(
            {
                **configuration._asdict(),
                **common,
                "kind": "published",
                "perturbation": perturbation,
                "value": repr(value.value),
                "std": "" if math.isnan(value.std) else repr(value.std),
                "epochs": "" if math.isnan(value.epochs) else int(value.epochs),
                "source": "; ".join(value.sources),
            }
        )
    return stream.getvalue()


def main(argv: Sequence[str] | None = None) -> None:
    """Write every file of ``--output``."""
    parser = make_parser(str(__doc__), SUFFIXES)
    add_records(parser)
    add_runs(parser)
    add_protocol(parser)
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, SUFFIXES)
    choice = {"protocol": arguments.protocol, "part": arguments.part, "metric": arguments.metric}
    cells = summarise(read_records(arguments.records), **choice)
    published = published_cells(read_published(arguments.published), **choice)
    runs = read_runs(arguments.runs) if arguments.runs else []
    tables = build_tables(cells, published, runs, **choice)
    for output in arguments.output:
        if output.suffix == ".csv":
            write_text(output, to_csv(cells, published, runs, **choice))
        else:
            write_text(output, to_markdown(tables) if output.suffix == ".md" else to_latex(tables))


if __name__ == "__main__":
    run_script(main)
