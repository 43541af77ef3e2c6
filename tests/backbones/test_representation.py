"""The split of the representation."""

from __future__ import annotations

import pytest
import torch

from clever.backbones import SPLITS, Split
from clever.errors import UserError

# Widths (ratio, IR, EF) obtained by running the authors' arithmetic.
PUBLISHED = {
    192: [(0.8, 153, 39), (0.5, 96, 96), (0.6, 115, 77), (0.7, 134, 58), (0.9, 172, 20)],
    384: [(0.8, 307, 77), (0.5, 192, 192), (0.6, 230, 154), (0.7, 268, 116), (0.9, 345, 39)],
    512: [(0.8, 409, 103), (0.5, 256, 256), (0.6, 307, 205), (0.7, 358, 154), (0.9, 460, 52)],
    768: [(0.8, 614, 154), (0.5, 384, 384), (0.6, 460, 308), (0.7, 537, 231), (0.9, 691, 77)],
    2048: [(0.8, 1638, 410), (0.5, 1024, 1024), (0.6, 1228, 820), (0.7, 1433, 615), (0.9, 1843, 205)],
}


@pytest.mark.parametrize(("width", "ratio", "ir", "ef"), [(w, *row) for w, rows in PUBLISHED.items() for row in rows])
def test_widths(width: int, ratio: float, ir: int, ef: int) -> None:
    split = Split(width, ratio)
    assert (split.ir_dim, split.ef_dim) == (ir, ef)


@pytest.mark.parametrize(("width", "truncated", "nearest"), [(2048, 1638, 1638), (512, 409, 410), (384, 307, 307)])
def test_ddcl_rounds_to_the_nearest_width(width: int, truncated: int, nearest: int) -> None:
    assert Split(width, 0.8).ir_dim == truncated == int(0.8 * width)
    split = Split(width, 0.8, "nearest")
    assert (split.ir_dim, split.ef_dim) == (nearest, width - nearest)
    assert abs(split.ir_dim - 0.8 * width) <= 0.5


def test_presets() -> None:
    assert {name: (split.ir_dim, split.ef_dim) for name, split in SPLITS.items()} == {
        "vit_tiny": (153, 39),
        "vit_small": (307, 77),
        "resnet18": (409, 103),
        "vmamba_tiny": (614, 154),
        "resnet50": (1638, 410),
    }


def test_first_entries_are_invariant_last_equivariant() -> None:
    z = torch.arange(2 * 3 * 10.0).reshape(2, 3, 10)
    split = Split(10, 0.7)
    assert torch.equal(split.ir(z), z[:, :, :7])
    assert torch.equal(split.ef(z), z[:, :, 7:])
    assert split.ir(z).data_ptr() == z.data_ptr()


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.2, 1.5, float("nan")])
def test_ratio_outside_is_refused(ratio: float) -> None:
    with pytest.raises(UserError, match="not a split"):
        Split(192, ratio)


@pytest.mark.parametrize(("width", "ratio"), [(4, 0.2), (1, 0.5)])
def test_empty_part_is_refused(width: int, ratio: float) -> None:
    with pytest.raises(UserError, match="at least one"):
        Split(width, ratio)


def test_tensor_of_the_wrong_width_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"split of 192 features was given a tensor of shape \(2, 384\)"):
        Split(192).ir(torch.zeros(2, 384))
