"""Copy tables of parameters between devices: many small columns as one block."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from clever.augmentation.sample import Table


def stack(tables: list[Table]) -> Table:
    """Concatenate the rows of tables."""
    return {name: torch.cat([table[name] for table in tables]) for name in tables[0]}


def take(table: Table, rows: Tensor) -> Table:
    """The given rows of a table, in this order."""
    return {name: column[rows] for name, column in table.items()}


def split(table: Table, rows: int) -> list[Table]:
    """The inverse of :func:`stack` for tables of ``rows`` rows each."""
    columns = {name: torch.split(column, rows) for name, column in table.items()}
    return [dict(zip(columns, parts, strict=True)) for parts in zip(*columns.values(), strict=True)]


def move(table: Table, device: torch.device) -> Table:
    """The table on ``device`` in a single copy that does not make the host wait."""
    if all(column.device == device for column in table.values()):
        return table
    if any(column.device.type != "cpu" for column in table.values()):
        return {name: column.to(device) for name, column in table.items()}
    return unpack(upload(pack(table), device), table)


def pack(table: Table) -> Tensor:
    """All columns as one float64 tensor [N, columns], which represents each exactly: seeds are below 2**31."""
    return torch.cat(
        [column.double().reshape(len(column), math.prod(column.shape[1:])) for column in table.values()], dim=1
    )


def unpack(block: Tensor, like: Table) -> Table:
    """The inverse of :func:`pack`; ``like`` defines names, shapes and dtypes."""
    moved, start = {}, 0
    for name, column in like.items():
        width = math.prod(column.shape[1:])
        moved[name] = block[:, start : start + width].reshape(column.shape).to(column.dtype)
        start += width
    return moved


def upload(values: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on ``device`` without making the host wait."""
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)
