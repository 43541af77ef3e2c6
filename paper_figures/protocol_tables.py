"""Tables of a protocol with many metrics: one table for each block of columns and each part of the representation.

A row is a method; its numbers are the mean and spread over seeds, with the paired difference from its baseline alone.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from arguments import add_records, add_runs, check_suffixes, make_parser
from names import NOT_PUBLISHED, PROTOCOLS, method_label, part_rank, seeds_label
from published_values import read_published
from table_matrix import (
    CSV_HEADS,
    LABEL_HEADS,
    NOTHING,
    SUFFIXES,
    UNHEALTHY_MARK,
    compare,
    difference_notes,
    format_difference,
    format_mean,
    is_nan,
    unhealthy_notes,
)
from tables import Kind, Row, Table, to_latex, to_markdown

from clever.errors import UserError
from clever.files import write_text
from clever.results.records import read_records
from clever.results.run_description import read_runs, unhealthy_runs
from clever.results.run_id import UNTRAINED

CSV_COLUMNS = ("protocol", "part", "images", *(("metric" if name == "perturbation" else name) for name in CSV_HEADS))


@dataclass(frozen=True)
class Block:
    """A group of columns that belong together: one table."""

    title: str
    columns: Mapping[str, str]
    """Column heads by key. A key is a metric, or ``<perturbation> <metric>`` if the perturbation is not orig."""


@dataclass(frozen=True)
class Layout:
    """How the records of one protocol become tables."""

    protocol: str
    blocks: tuple[Block, ...]
    caption: str
    """What the numbers are; ``{n}`` is replaced by their number of images."""
    counted: str
    """What the records' ``n`` counts: photographs, images, objects."""
    published_title: str = ""
    """Title of the table of values that others have published."""
    published_note: str = ""
    """How far the published values can be compared with ours."""


def keyed(records: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """The last-epoch records of a protocol and its variants, with their key as ``perturbation``.

    Raises:
        UserError: there are none.
    """
    variants = records["protocol"].str.partition("+")[0] == protocol
    chosen = records[variants & (records["selection"] == "last")]
    if chosen.empty:
        raise UserError(f"no record of protocol {protocol}; add evaluations.{protocol} to the study")
    plain = chosen["perturbation"] == "orig"
    return chosen.assign(
        perturbation=chosen["metric"].where(plain, chosen["perturbation"] + " " + chosen["metric"])
    ).reset_index(drop=True)


def compared(chosen: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """Rows of ``table_matrix.compare`` with the columns protocol, part and images, for the keys of the layout."""
    keys = [key for block in layout.blocks for key in block.columns]
    frames = []
    for (protocol, part), group in chosen[chosen["perturbation"].isin(keys)].groupby(["protocol", "part"], sort=True):
        images = _span(group["n"])
        frames.append(compare(group).assign(protocol=str(protocol), part=str(part), images=images))
    if not frames:
        raise UserError(f"no record of protocol {layout.protocol} has one of the metrics {', '.join(keys)}")
    table = pd.concat(frames, ignore_index=True)
    table["rank"] = [part_rank(part) for part in table["part"]]
    return table.sort_values(["protocol", "data", "rank"], kind="stable", ignore_index=True).drop(columns="rank")


def build(table: pd.DataFrame, layout: Layout, unhealthy: Mapping[str, str], published: pd.DataFrame) -> list[Table]:
    """One table for each variant of the protocol, data set, block and part, then the published values.

    Args:
        table: from :func:`compared`.
        layout: the blocks and their words.
        unhealthy: what was wrong with a run, by run id.
        published: from ``read_published``; the values of this protocol are shown.
    """
    tables = [found for group in _groups(table) for found in _blocks(group, layout, unhealthy)]
    elsewhere = published[published["protocol"].str.partition("+")[0] == layout.protocol]
    if len(elsewhere):
        tables += _published(elsewhere, layout)
    return tables


def _groups(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for _, group in table.groupby(["protocol", "data", "part"], sort=False):
        yield group


def _blocks(group: pd.DataFrame, layout: Layout, unhealthy: Mapping[str, str]) -> Iterator[Table]:
    protocol, data, part = (str(group[name].iloc[0]) for name in ("protocol", "data", "part"))
    name = PROTOCOLS.get(layout.protocol, layout.protocol) + protocol.removeprefix(layout.protocol)
    for block in layout.blocks:
        keys = [key for key in block.columns if key in set(group["perturbation"])]
        if not keys:
            continue
        shown = group[group["perturbation"].isin(keys)]
        differences = bool((shown["reference"] != "").any())
        marked: dict[str, str] = {}
        rows = []
        for (backbone, augmentation, method), cells in shown.groupby(
            ["backbone", "augmentation", "method"], sort=False
        ):
            by_key = {str(row["perturbation"]): row for _, row in cells.iterrows()}
            prefix = f"{data}/{backbone}/{method}/{augmentation}/"
            here = {run: reason for run, reason in unhealthy.items() if run.startswith(prefix)}
            marked |= here
            label = method_label(str(backbone), str(method)) + (f" {UNHEALTHY_MARK}" if here else "")
            kind: Kind = "control" if method == UNTRAINED else "ours"
            seeds = seeds_label(int(cells["seeds"].max()), int(cells["seeds"].min()))
            numbers = tuple(text for key in keys for text in _cells(by_key.get(key), differences))
            rows.append(Row((str(backbone), str(augmentation), label, seeds), numbers, kind))
        count = int((shown["verdict"] != "").sum())
        heads = [block.columns[key] for key in keys]
        notes = difference_notes(count, "in points") if differences else []
        yield Table(
            title=f"{name}, {block.title}: {data}, {part}",
            caption=(
                f"Pre-trained on {data}; representation: {part}. "
                + layout.caption.format(n=f"{shown['images'].iloc[0]} {layout.counted}")
                + " Mean ± standard deviation over seeds. Published for CLeVER: "
                + f"{NOT_PUBLISHED}."
            ),
            label_heads=LABEL_HEADS,
            value_heads=tuple(
                each for head in heads for each in ((head, f"{head}: Δ [95 %]") if differences else (head,))
            ),
            rows=tuple(rows),
            notes=(*notes, *unhealthy_notes(marked)),
        )


def _cells(row: pd.Series | None, differences: bool) -> tuple[str, ...]:
    if row is None:
        return (NOTHING, NOTHING) if differences else (NOTHING,)
    return (format_mean(row, 1), format_difference(row, 1)) if differences else (format_mean(row, 1),)


def _published(values: pd.DataFrame, layout: Layout) -> list[Table]:
    heads = {key: f"{block.title}: {head}" for block in layout.blocks for key, head in block.columns.items()}
    keys = [key for key in heads if key in set(values["metric"])]
    rows = []
    for (evaluated, data, backbone, method), group in values.groupby(
        ["evaluation_data", "data", "backbone", "method_printed"], sort=False
    ):
        found = {str(row["metric"]): f"{row['value']:.1f}" for _, row in group.iterrows()}
        labels = (str(evaluated), str(data), str(backbone), str(method))
        rows.append(Row(labels, tuple(found.get(key, NOTHING) for key in keys), "published"))
    sources = sorted(set(values["source"]))
    return [
        Table(
            title=layout.published_title,
            caption=layout.published_note,
            label_heads=("evaluated on", "pre-trained on", "backbone", "method"),
            value_heads=tuple(heads[key] for key in keys),
            rows=tuple(rows),
            notes=(f"Source: {'; '.join(sources)}.",),
        )
    ]


def _span(counts: pd.Series) -> str:
    least, most = int(counts.min()), int(counts.max())
    return str(most) if least == most else f"{least}–{most}"


def to_csv(table: pd.DataFrame) -> str:
    """The same numbers, tidy and unrounded, in the columns ``CSV_COLUMNS``."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in table.rename(columns={"perturbation": "metric"}).to_dict("records"):
        writer.writerow({name: "" if is_nan(row[name]) else row[name] for name in CSV_COLUMNS})
    return stream.getvalue()


def draw(layout: Layout, description: str, argv: Sequence[str] | None) -> None:
    """The command line of such a table: write every file of ``--output``."""
    parser = make_parser(description, SUFFIXES)
    add_records(parser)
    add_runs(parser)
    arguments = parser.parse_args(argv)
    check_suffixes(arguments.output, SUFFIXES)
    table = compared(keyed(read_records(arguments.records), layout.protocol), layout)
    unhealthy = unhealthy_runs(read_runs(arguments.runs)) if arguments.runs else {}
    tables = build(table, layout, unhealthy, read_published(arguments.published))
    for output in arguments.output:
        _write(output, table, tables)


def _write(output: Path, table: pd.DataFrame, tables: Sequence[Table]) -> None:
    if output.suffix == ".csv":
        write_text(output, to_csv(table))
    else:
        write_text(output, to_markdown(tables) if output.suffix == ".md" else to_latex(tables))
