"""Measured and published numbers, arranged as cells of a table or points of a figure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
from names import configuration_rank

from clever.errors import UserError
from clever.results.run_id import PIXELS, UNTRAINED

MAIN_ITEMS = ("clever_readme", "ddcl_readme")
"""The published tables that the main table is compared with; the others repeat these cells or use other schedules."""


class Configuration(NamedTuple):
    """One row of the main table: everything that identifies a run except its seed."""

    data: str
    backbone: str
    method: str
    augmentation: str

    @property
    def is_control(self) -> bool:
        """Whether nothing was learned: an untrained backbone, or raw pixels."""
        return self.method == UNTRAINED or self.backbone == PIXELS

    def rank(self) -> tuple[object, ...]:
        """Sort key among the configurations of one data set."""
        return configuration_rank(self.backbone, self.method, self.augmentation)


@dataclass(frozen=True)
class Measured:
    """Mean over seeds; ``std`` is the sample standard deviation (n - 1), NaN for a single seed."""

    mean: float
    std: float
    seeds: int
    images: tuple[int, ...]
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Published:
    """One printed value; ``std`` and ``epochs`` are NaN where the sources state none. The spread has its own source."""

    value: float
    std: float
    epochs: float
    sources: tuple[str, ...]


class Cell(NamedTuple):
    """The place of a measured value: its row, its perturbation and how the epoch was chosen (last, best)."""

    configuration: Configuration
    perturbation: str
    selection: str


def summarise(records: pd.DataFrame, protocol: str, part: str, metric: str) -> dict[Cell, Measured]:
    """Mean and spread over seeds of every cell. Raises ``UserError``, listing what exists, if no record matches."""
    chosen = records[
        (records["protocol"] == protocol) & (records["part"] == part) & (records["metric"] == metric)
    ].sort_values("seed")
    if chosen.empty:
        measured = records[["protocol", "part", "metric"]].drop_duplicates().sort_values(["protocol", "part", "metric"])
        known = "; ".join(" ".join(row) for row in measured.to_numpy())
        raise UserError(f"no record of protocol, part, metric = {protocol} {part} {metric}; the records have: {known}")
    cells: dict[Cell, Measured] = {}
    keys = ["data", "backbone", "method", "augmentation", "perturbation", "selection"]
    for key, group in chosen.groupby(keys, sort=True):
        data, backbone, method, augmentation, perturbation, selection = (str(word) for word in key)
        cells[Cell(Configuration(data, backbone, method, augmentation), perturbation, selection)] = Measured(
            mean=float(group["value"].mean()),
            std=float(group["value"].std(ddof=1)) if len(group) > 1 else math.nan,
            seeds=len(group),
            images=tuple(sorted({int(count) for count in group["n"]})),
            runs=tuple(sorted(group["run"])),
        )
    return cells


def configurations(cells: dict[Cell, Measured], data: str) -> list[Configuration]:
    """The rows of one data set in order.

    A control that was measured on any data set has a row on every data set, whether it was measured there or not. A
    control without any record (a study with ``controls: []``) has no row.
    """
    found = {cell.configuration for cell in cells if cell.configuration.data == data}
    backbones = {row.backbone for row in found if row.backbone != PIXELS}
    controlled = {row.backbone for row in found if row.method == UNTRAINED}
    measured = {cell.configuration.backbone == PIXELS for cell in cells if cell.configuration.method == UNTRAINED}
    if False in measured:
        found |= {Configuration(data, backbone, UNTRAINED, "none") for backbone in backbones - controlled}
    if PIXELS not in controlled and True in measured:
        found.add(Configuration(data, PIXELS, UNTRAINED, "none"))
    return sorted(found, key=Configuration.rank)


def published_cells(
    published: pd.DataFrame, protocol: str, part: str, metric: str
) -> dict[tuple[Configuration, str], Published]:
    """Map (configuration, perturbation) to the value printed in the sources' main tables.

    The spread comes from Table 8, which repeats some cells of the README with a standard deviation. It is used only if
    both print the same value for the same schedule.
    """
    fitting = published[
        (published["protocol"] == protocol)
        & (published["part"] == part)
        & (published["metric"] == metric)
        & (published["evaluation_data"] == published["data"])
    ]
    spreads = {
        (*_identity(row), float(row["value"])): (float(row["std"]), str(row["source"]))
        for _, row in fitting[fitting["std"].notna()].iterrows()
    }
    cells: dict[tuple[Configuration, str], Published] = {}
    for _, row in fitting[fitting["item"].isin(MAIN_ITEMS)].iterrows():
        value, source = float(row["value"]), str(row["source"])
        std, std_source = spreads.get((*_identity(row), value), (math.nan, ""))
        configuration, perturbation, epochs = _identity(row)
        sources = (source,) if math.isnan(std) else (source, f"Standard deviations: {std_source}")
        cells[(configuration, perturbation)] = Published(value, std, epochs, sources)
    return cells


def _identity(row: pd.Series) -> tuple[Configuration, str, float]:
    configuration = Configuration(str(row["data"]), str(row["backbone"]), str(row["method"]), str(row["augmentation"]))
    return configuration, str(row["perturbation"]), float(row["epochs"])


def elsewhere(
    published: dict[tuple[Configuration, str], Published], rows: list[Configuration]
) -> dict[tuple[Configuration, str], Published]:
    """Published values of the rows' methods on other data sets, which cannot be compared with the rows."""
    data = {row.data for row in rows}
    methods = {row.method for row in rows}
    return {
        (configuration, perturbation): value
        for (configuration, perturbation), value in published.items()
        if configuration.method in methods and configuration.data not in data
    }
