"""The published values: their schema, their sources, and a few cells typed in independently from the sources."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from arguments import PUBLISHED_FOLDER
from published_values import PUBLISHED_COLUMNS, REFERENCE_FILE, read_published

from clever.errors import UserError

PUBLISHED = read_published(PUBLISHED_FOLDER)


def _value(**wanted: object) -> float:
    """The single value with these columns; top-1 by default."""
    rows = PUBLISHED
    for column, value in {"metric": "top1", **wanted}.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1, rows
    return float(rows["value"].iloc[0])


def test_every_file_has_exactly_the_columns() -> None:
    for path in PUBLISHED_FOLDER.glob("*.csv"):
        more = ("batch_size",) if path.name == REFERENCE_FILE else ()
        assert tuple(pd.read_csv(path, nrows=0).columns) == (*PUBLISHED_COLUMNS, *more), path.name


@pytest.mark.parametrize(
    ("item", "rows"),
    [
        ("clever_readme", 5 * 2 * 4 + 5 * 2),  # accuracies, then parameters and FLOPs of five backbones
        ("table_8", 18 + 13),  # top-1 of every line, top-5 of thirteen
        ("backbones_png", 5 * 2 * 5 + 1),
        ("ddcl_readme", 9 * 5),
        ("ddcl_table_3", 15 * 3),
        ("ddcl_table_4", 15 * 4),
        ("tokencut_readme", 3 * 2 * 3),  # data sets, with and without the bilateral solver, scores
    ],
)
def test_number_of_values(item: str, rows: int) -> None:
    assert (PUBLISHED["item"] == item).sum() == rows
    assert set(PUBLISHED["item"]) == {
        *("clever_readme", "table_8", "backbones_png", "ddcl_readme", "ddcl_table_3", "ddcl_table_4"),
        "tokencut_readme",
    }


def test_rows_use_our_vocabulary_and_have_a_source() -> None:
    accuracies = PUBLISHED[PUBLISHED["metric"].isin(["top1", "top5"])]
    assert set(accuracies["augmentation"]) == {"baug", "caug", "caug_plus", ""}
    assert set(accuracies["perturbation"]) == {"orig", "cj", "cj_flip", "cj_rot", "cj_rot_et"}
    assert set(accuracies["data"]) == {"imagenet100", "imagenet1k"}
    assert accuracies["value"].between(20, 100).all()
    # Only the other methods of Table 8 have no recipe, because the picture does not show it.
    assert set(accuracies.loc[accuracies["augmentation"] == "", "item"]) == {"table_8"}
    assert PUBLISHED["source"].str.contains("71772da|b65159d|YangtaoWANG95/TokenCut").all()
    assert set(PUBLISHED["exactness"]) == {
        "printed in text",
        "printed table in a picture",
        "read off a plot, ±0.1",
    }
    assert (PUBLISHED.loc[PUBLISHED["item"] == "backbones_png", "exactness"] == "read off a plot, ±0.1").all()


def test_no_value_is_listed_twice_in_an_item() -> None:
    key = ["item", "data", "evaluation_data", "backbone", "method_printed", "augmentation", "perturbation", "epochs"]
    assert not PUBLISHED.duplicated([*key, "part", "metric"]).any()


def test_some_values_typed_in_independently() -> None:
    readme = {"item": "clever_readme", "epochs": 200.0}
    tiny, large = {"backbone": "vit_tiny"}, {"backbone": "resnet50"}
    vmamba = {"backbone": "vmamba_tiny"}
    assert _value(**readme, **tiny, method="dino", augmentation="caug", perturbation="cj_rot") == 62.6
    assert _value(**readme, **tiny, method="dino+clever", augmentation="baug", perturbation="orig") == 74.9
    assert _value(**readme, **vmamba, method="dino+clever", augmentation="caug", perturbation="orig") == 83.0
    assert _value(**readme, **large, method="dino+clever", augmentation="baug", perturbation="cj_rot") == 53.9
    assert _value(item="clever_readme", metric="gflops", backbone="vmamba_tiny") == 4.84
    assert _value(item="table_8", metric="top5", backbone="resnet18", method="dino+clever") == 92.9
    assert _value(item="table_8", method_printed="MoCo v2 (R)") == 72.0
    assert _value(item="backbones_png", **tiny, method="dino+clever", epochs=500.0) == 72.7
    assert _value(item="backbones_png", backbone="vit_small", augmentation="baug") == 52.7
    simsiam = {"item": "ddcl_readme", "method": "simsiam+clever"}
    assert _value(**simsiam, augmentation="caug_plus", perturbation="cj_rot_et") == 75.5
    assert _value(**simsiam, augmentation="baug", perturbation="cj_rot") == 51.6
    third = {"item": "ddcl_table_3", "data": "imagenet1k", "epochs": 200.0, "method_printed": "DDCL"}
    assert _value(**third, evaluation_data="food101") == 72.91
    fourth = {"item": "ddcl_table_4", "data": "imagenet100", "augmentation": "caug", "method_printed": "DIR only"}
    assert _value(**fourth, perturbation="cj_rot_et") == 49.00
    token_cut = {"item": "tokencut_readme", "evaluation_data": "dut_omron"}
    assert _value(**token_cut, metric="tokencut_iou") == 53.3
    assert _value(**token_cut, metric="tokencut_bs_max_f") == 69.7


def test_sources_agree_on_repeated_values() -> None:
    """Table 8 and the plot's 200-epoch column repeat cells of the README."""
    key = ["backbone", "method", "augmentation", "perturbation"]
    chosen = PUBLISHED[(PUBLISHED["metric"] == "top1") & (PUBLISHED["epochs"] == 200) & (PUBLISHED["part"] == "ALL")]
    readme = chosen[chosen["item"] == "clever_readme"].set_index(key)["value"]
    for item in ("table_8", "backbones_png"):
        again = chosen[chosen["item"] == item].set_index(key)["value"]
        assert len(again) == 10
        assert (again - readme.loc[again.index] == 0).all()


def test_a_row_without_a_source_is_refused(tmp_path: Path) -> None:
    table = pd.read_csv(PUBLISHED_FOLDER / "clever_readme.csv", dtype=str, keep_default_na=False)
    table.loc[3, "source"] = " "
    table.to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(UserError, match=r"bad\.csv: line 5 has no source"):
        read_published(tmp_path)
