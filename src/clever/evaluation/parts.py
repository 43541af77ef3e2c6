"""Which entries of a feature vector belong to the invariant representation and which to the equivariant factor."""

from __future__ import annotations

import torch
from torch import Tensor

from clever.errors import UserError

Selection = slice | Tensor
"""Selects columns of a feature matrix: ``features[:, selection]``."""


def part_selections(feature_dim: int, ir_dim: int | None, blocks: int = 1) -> dict[str, Selection]:
    """Columns of every part of a feature matrix [N, blocks * feature_dim].

    ``blocks`` is the number of concatenated class tokens, the final block's last; 1 means the plain output
    vector, [IR | EF]. The parts, after the authors' eval_linear.py:57-88:

    - ``ALL``: every column;
    - ``EF``: the last ``feature_dim - ir_dim`` columns, which is the factor of the final block alone;
    - ``IR``: all the others. For one vector that is the invariant representation. For several blocks it is what
      the authors call ``main_part``: it also holds the last columns of the earlier blocks;
    - ``IR_strict`` (several blocks only): the first ``ir_dim`` columns of each block.

    ``ir_dim`` None means that the vector was never split: then there is only ``ALL``.

    Raises UserError when ``ir_dim`` does not leave at least one dimension to each part.
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
    """The parts of one output vector, and the wider of IR and EF cut to the width of the narrower.

    The cut part, ``IR_cut`` or ``EF_cut``, has columns of the wider part drawn by ``generator``, in their order. There
    is none where the vector was never split or both are equally wide.
    """
    if ir_dim is None or 2 * ir_dim == feature_dim:
        return parts
    wide = "IR" if 2 * ir_dim > feature_dim else "EF"
    columns = torch.arange(feature_dim)[parts[wide]]
    chosen = torch.randperm(len(columns), generator=generator)
    return parts | {f"{wide}_cut": columns[chosen[: min(ir_dim, feature_dim - ir_dim)].sort().values]}
