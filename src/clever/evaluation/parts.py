"""The entries of a feature vector that belong to the invariant representation and to the equivariant factor."""

from __future__ import annotations

import torch
from torch import Tensor

from clever.errors import UserError

Selection = slice | Tensor
"""Selects columns of a feature matrix: ``features[:, selection]``."""


def part_selections(feature_dim: int, ir_dim: int | None, blocks: int = 1) -> dict[str, Selection]:
    """The columns of every part of a feature matrix [N, blocks * feature_dim].

    ``blocks`` is the number of concatenated class tokens, with the final block last; 1 means the plain output vector,
    [IR | EF]. The parts follow the authors' eval_linear.py:57-88:

    - ``ALL``: every column;
    - ``EF``: the last ``feature_dim - ir_dim`` columns, which are the EF of the final block alone;
    - ``IR``: all other columns. For one vector, this is the invariant representation. For several blocks, it is the
      authors' ``main_part``, which also contains the last columns of the earlier blocks;
    - ``IR_strict`` (several blocks only): the first ``ir_dim`` columns of each block.

    ``ir_dim`` None means that the vector was not split: then there is only ``ALL``.

    Raises UserError if ``ir_dim`` does not leave at least one dimension for each part.
    """
    width = blocks * feature_dim
    parts: dict[str, Selection] = {"ALL": slice(0, width)}
    if ir_dim is None:
        return parts
    if not 0 < ir_dim < feature_dim:
        raise UserError(f"ir_dim is {ir_dim}, but must be between 1 and {feature_dim - 1} (feature_dim - 1)")
    boundary = width - (feature_dim - ir_dim)
    parts["IR"] = slice(0, boundary)
    parts["EF"] = slice(boundary, width)
    if blocks > 1:
        columns = torch.arange(width)
        parts["IR_strict"] = columns[columns % feature_dim < ir_dim]
    return parts


def with_equal_width(
    parts: dict[str, Selection], feature_dim: int, ir_dim: int | None, generator: torch.Generator
) -> dict[str, Selection]:
    """The parts of one output vector, and the wider of IR and EF reduced to the width of the narrower one.

    The cut part, ``IR_cut`` or ``EF_cut``, has columns of the wider part drawn by ``generator``, in their order. It is
    omitted if the vector was not split or both parts are equally wide.
    """
    if ir_dim is None or 2 * ir_dim == feature_dim:
        return parts
    wide = "IR" if 2 * ir_dim > feature_dim else "EF"
    columns = torch.arange(feature_dim)[parts[wide]]
    chosen = torch.randperm(len(columns), generator=generator)
    return parts | {f"{wide}_cut": columns[chosen[: min(ir_dim, feature_dim - ir_dim)].sort().values]}
