"""The published values that belong to the report's main table."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from names import PERTURBATIONS, perturbation_rank
from summary import Cell, Configuration, Measured, Published, published_cells, summarise
from table_1 import LABEL_HEADS, build_tables, format_published
from tables import Row, Table


def published_tables(records: pd.DataFrame, published: pd.DataFrame, protocol: str, metric: str) -> list[Table]:
    """The published values of cells that the study measured, then those of its methods on other data sets.

    Empty where the sources print no value of this protocol and metric for one of the study's methods.
    """
    chosen = records[(records["protocol"] == protocol) & (records["metric"] == metric) & (records["part"] == "ALL")]
    if chosen.empty:
        return []
    cells = summarise(records, protocol, "ALL", metric)
    printed = published_cells(published, protocol, "ALL", metric)
    data_sets = sorted({cell.configuration.data for cell in cells})
    same = [table for data in data_sets if (table := _same_cells(data, cells, printed))]
    # The first tables are ours, one per data set.
    return same + build_tables(cells, printed, protocol=protocol, part="ALL", metric=metric)[len(data_sets) :]


def _same_cells(
    data: str, cells: Mapping[Cell, Measured], printed: Mapping[tuple[Configuration, str], Published]
) -> Table | None:
    """Published values of the study's own rows on one data set, with our difference from each."""
    rows = {cell.configuration for cell in cells if cell.configuration.data == data}
    found = {key: value for key, value in printed.items() if key[0] in rows}
    if not found:
        return None
    names = sorted({name for _, name in found}, key=perturbation_rank)
    sources = sorted({source for value in found.values() for source in value.sources})
    lines = []
    for row in sorted({configuration for configuration, _ in found}, key=Configuration.rank):
        values = [found.get((row, name)) for name in names]
        ours = [cells.get(Cell(row, name, "last")) for name in names]
        numbers = ",".join(
            str(number)
            for number, source in enumerate(sources, start=1)
            if any(v and source in v.sources for v in values)
        )
        texts = tuple(
            format_published(value) + (f"; ours {mine.mean - value.value:+.1f}" if value and mine else "")
            for value, mine in zip(values, ours, strict=True)
        )
        lines.append(Row((row.backbone, row.method, row.augmentation, f"published ({numbers})"), texts, "published"))
    known = "; ".join(f"{name}: {PERTURBATIONS[name]}" for name in names if name in PERTURBATIONS)
    return Table(
        title=f"Published values of the same cells: {data}",
        caption=f"Data: {data}. As printed in the sources; “ours” is our mean minus the published value.",
        label_heads=LABEL_HEADS,
        value_heads=tuple(names),
        rows=tuple(lines),
        notes=(f"Perturbations: {known}.", *(f"({n}) {source}." for n, source in enumerate(sources, start=1))),
    )
