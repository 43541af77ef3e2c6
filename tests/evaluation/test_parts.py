"""Index arithmetic of the parts, against the widths in the authors' code."""

from __future__ import annotations

import pytest
import torch

from clever.errors import UserError
from clever.evaluation.parts import part_selections


def columns(feature_dim: int, ir_dim: int | None, blocks: int) -> dict[str, list[int]]:
    row = torch.arange(blocks * feature_dim)[None]
    return {part: row[:, where][0].tolist() for part, where in part_selections(feature_dim, ir_dim, blocks).items()}


@pytest.mark.parametrize(
    ("feature_dim", "ir_dim", "main_part", "factor"), [(192, 153, 729, 39), (384, 307, 1459, 77)], ids=["tiny", "small"]
)
def test_vit_parts_have_the_authors_widths(feature_dim: int, ir_dim: int, main_part: int, factor: int) -> None:
    parts = columns(feature_dim, ir_dim, blocks=4)
    assert parts["ALL"] == list(range(4 * feature_dim))
    assert parts["IR"] == list(range(main_part))
    assert parts["EF"] == list(range(main_part, main_part + factor))
    assert parts["IR_strict"] == [block * feature_dim + column for block in range(4) for column in range(ir_dim)]


@pytest.mark.parametrize(("feature_dim", "ir_dim"), [(512, 409), (2048, 1638), (768, 614)])
def test_a_single_vector_is_split_once(feature_dim: int, ir_dim: int) -> None:
    parts = columns(feature_dim, ir_dim, blocks=1)
    assert list(parts) == ["ALL", "IR", "EF"]
    assert parts["IR"] == list(range(ir_dim))
    assert parts["EF"] == list(range(ir_dim, feature_dim))


def test_a_vector_without_a_split_has_only_all() -> None:
    assert columns(10, None, blocks=4) == {"ALL": list(range(40))}


@pytest.mark.parametrize("ir_dim", [-1, 0, 8, 9])
def test_an_empty_part_is_refused(ir_dim: int) -> None:
    with pytest.raises(UserError, match=f"ir_dim is {ir_dim}, but must be between 1 and 7"):
        part_selections(8, ir_dim)
