"""The cost of a backbone, against the paper's printed numbers and closed forms."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from clever.backbones import SPLITS, BackboneOptions, build_backbone
from clever.backbones.describe import PUBLISHED_COSTS, backbone_table, count_macs, describe, saved_bytes
from clever.errors import UserError

PAGE = Path(__file__).parents[2] / "docs" / "backbones.md"


@pytest.fixture(scope="module")
def table() -> str:
    return backbone_table()


@pytest.mark.parametrize("name", SPLITS)
def test_parameters_and_macs_match_the_paper(name: str) -> None:
    found = describe(name, 224)
    parameters, macs = PUBLISHED_COSTS[name]
    assert f"{found['parameters'] / 1e6:.1f}" == parameters
    assert found["macs"] / 1e9 == pytest.approx(float(macs), rel=0.03 if name == "vmamba_tiny" else 0.02)
    assert (found["ir_dim"], found["ef_dim"]) == (SPLITS[name].ir_dim, SPLITS[name].ef_dim)


def test_macs_of_a_vit_in_closed_form() -> None:
    """The patches, then in each block 12·D² per token and 2·T²·D for attention's two products."""
    tokens, width = (96 // 16) ** 2 + 1, 192
    expected = (tokens - 1) * 3 * 16 * 16 * width + 12 * (12 * tokens * width**2 + 2 * tokens**2 * width)
    backbone = build_backbone(BackboneOptions(name="vit_tiny", image_size=96), seed=0)
    assert count_macs(backbone, 96) == expected


def test_macs_of_vmamba_in_closed_form() -> None:
    side, expected = 96 // 4, 0
    expected += (96 // 2) ** 2 * 9 * 3 * 48 + side**2 * 9 * 48 * 96
    for width, depth in zip((96, 192, 384, 768), (2, 2, 8, 2), strict=True):
        rank = width // 16
        projections = 2 * width**2 + 9 * width + 4 * width * (rank + 2) + 4 * rank * width
        scan = 4 * 6 * width
        mlp = 8 * width**2
        expected += depth * side**2 * (projections + scan + mlp)
        if width < 768:
            side //= 2
            expected += side**2 * 9 * width * 2 * width
    backbone = build_backbone(BackboneOptions(name="vmamba_tiny", image_size=96), seed=0)
    assert count_macs(backbone, 96) == expected


def test_saved_bytes_in_closed_form() -> None:
    """Only two tensors are kept: the convolution's input, and ReLU's output, which the second convolution shares."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 1))
    assert saved_bytes(network, 16) == 4 * (3 + 4) * 16 * 16


def test_training_bytes_add_up() -> None:
    found = describe("resnet10t_half", 32, 0.5, batch_size=10)
    assert found["training_bytes"] == 10 * found["activation_bytes"] + 16 * found["parameters"]
    assert found["ir_dim"] == found["ef_dim"] == 128
    assert describe("resnet10t_half", 64)["activation_bytes"] > 3 * found["activation_bytes"]


def test_pixels_cost_nothing() -> None:
    found = describe("pixels", 32)
    assert (found["parameters"], found["macs"], found["training_bytes"], found["feature_dim"]) == (0, 0, 0, 3072)


def test_any_timm_model_can_be_described() -> None:
    found = describe("convnext_atto", 64)
    expected = build_backbone(BackboneOptions(name="convnext_atto", image_size=64), seed=0)
    assert found["parameters"] == sum(p.numel() for p in expected.parameters())
    with pytest.raises(UserError, match="no such name"):
        describe("convnext_ato", 64)


def test_table_lists_the_five(table: str) -> None:
    rows = table.splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(SPLITS)
    assert all(row.count("|") - row.count("\\|") == table.splitlines()[1].count("|") for row in rows)
    for name, row in zip(SPLITS, rows, strict=True):
        cells = [cell.strip() for cell in row.replace("\\|", "/").split("|")]
        assert cells[2] == cells[3] == PUBLISHED_COSTS[name][0]
        assert cells[5] == PUBLISHED_COSTS[name][1]


def test_the_page_shows_the_table(table: str) -> None:
    assert table in PAGE.read_text(encoding="utf-8"), "docs/backbones.md is out of step: put backbone_table() there"
