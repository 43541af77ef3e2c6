"""Accuracies published by others: cells typed in independently from the sources, and their pairing with measured
rows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from published_values import read_published
from references import PAIR_COLUMNS, REFERENCES, pair_with_references, read_references

from clever.baselines import BASELINES
from clever.errors import UserError

TABLE = read_references()
RECIPES = Path(__file__).parents[2] / "workflow" / "recipes"


def _value(**wanted: object) -> float:
    rows = TABLE
    for column, value in {"metric": "top1", **wanted}.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1, rows
    return float(rows["value"].iloc[0])


@pytest.mark.parametrize(
    ("item", "rows"),
    [
        ("solo_learn_cifar10", 16 * 2),
        ("solo_learn_cifar100", 16 * 2),
        ("solo_learn_imagenet100", 18 * 4 - 2 * 4),  # four methods without an offline head
        ("lightly_cifar10", 12 * 3),
        ("lightly_imagenet100", 9),
        ("lightly_imagenette", 16),  # entries with a ResNet-18
        ("lightly_imagenet1k", 10 * 2),  # entries with a ResNet-50 and 100 epochs
        ("equimod_readme", 4 * 2 * 2),
        ("essl_readme", 4 + 4 + 3 + 1 + 1 + 3 + 3 + 3),
        ("mv_dhel_readme", 4 * 2),
    ],
)
def test_number_of_values(item: str, rows: int) -> None:
    assert (TABLE["item"] == item).sum() == rows


def test_words_and_ranges() -> None:
    assert TABLE["value"].between(20, 100).all()
    assert set(TABLE["metric"]) == {"top1", "top5"}
    assert set(TABLE["protocol"]) == {"linear", "online_linear", "knn"}
    assert set(TABLE["data"]) == {"cifar10", "cifar100", "imagenet100", "imagenette", "imagenet1k"}
    assert TABLE["source"].str.contains("9187ea3|e8d317f|3a273b7|70b2cd0|c26ae77").all()
    assert (TABLE["note"] != "").all()
    assert (TABLE["epochs"] >= 100).all()
    # Every recipe except MV-InfoNCE's has a published accuracy.
    recipes = {path.stem for path in RECIPES.glob("*/*.yaml")}
    assert recipes - set(TABLE["method"]) == {"mv_infonce"}
    assert recipes <= set(BASELINES)


def test_no_value_is_listed_twice() -> None:
    key = ["item", "data", "backbone", "method_printed", "epochs", "batch_size", "protocol", "metric"]
    assert not TABLE.duplicated(key).any()


def test_some_values_typed_in_independently() -> None:
    cifar = {"item": "solo_learn_cifar10", "batch_size": 256}
    assert _value(**cifar, method="byol") == 92.58
    assert _value(**cifar, method="moco_v3", metric="top5") == 99.80
    assert _value(item="solo_learn_cifar100", method="swav") == 64.88
    hundred = {"item": "solo_learn_imagenet100", "epochs": 400}
    assert _value(**hundred, method="simsiam", protocol="online_linear") == 74.54
    assert _value(**hundred, method="simsiam", protocol="linear") == 78.72
    assert _value(**hundred, method="moco_v3", backbone="resnet50", protocol="linear", metric="top5") == 96.70
    assert _value(**hundred, method="dino", backbone="vit_tiny") == 63.04
    lightly = {"item": "lightly_cifar10", "protocol": "knn"}
    assert _value(**lightly, method="dclw", batch_size=128, epochs=200) == 83.3
    assert _value(**lightly, method="simsiam", batch_size=512, epochs=800) == 90.4
    assert _value(item="lightly_imagenet100", method="swav") == 67.8
    assert _value(item="lightly_imagenet1k", method="dcl", protocol="knn") == 49.6
    assert _value(item="equimod_readme", method="byol+equimod", data="imagenet1k") == 73.22
    assert _value(item="equimod_readme", method="simclr+equimod", data="cifar10", metric="top5") == 99.78
    assert _value(item="essl_readme", method_printed="E-BT (.08,1.0)", epochs=200) == 70.6
    assert _value(item="mv_dhel_readme", data="imagenet100", method_printed="MV-DHEL, 4 views") == 77.2


def test_references_are_not_values_of_the_paper() -> None:
    assert not set(read_published(REFERENCES.parent)["item"]) & set(TABLE["item"])


def _records(rows: list[tuple[str, str, str, str, int, str, float]]) -> pd.DataFrame:
    head = ["data", "backbone", "method", "protocol", "seed", "perturbation", "value"]
    table = pd.DataFrame(rows, columns=head)
    return table.assign(augmentation="baug", part="ALL", metric="top1", selection="last")


def test_measured_rows_are_paired_with_the_references_of_their_baseline() -> None:
    records = _records(
        [
            ("cifar10", "resnet18", "simclr", "linear", 0, "orig", 90.0),
            ("cifar10", "resnet18", "simclr", "linear", 1, "orig", 92.0),
            ("cifar10", "resnet18", "simclr", "linear", 0, "cj_rot", 50.0),
            ("cifar10", "resnet18", "simclr+equimod", "linear", 0, "orig", 93.0),
            ("cifar10", "resnet18", "simclr+clever", "linear", 0, "orig", 91.5),
            ("cifar10", "vit_tiny", "simclr", "linear", 0, "orig", 80.0),
            ("digits", "resnet18", "simclr", "linear", 0, "orig", 99.0),
        ]
    )
    paired = pair_with_references(records, TABLE)
    assert tuple(paired.columns) == PAIR_COLUMNS
    alone = paired[paired["method"] == "simclr"]
    # solo-learn's online head, EquiMod's run, and lightly's three kNN results.
    assert sorted(alone["reference_value"]) == [84.7, 84.8, 87.9, 90.74, 90.96]
    assert set(alone["value"]) == {91.0}
    assert set(alone["seeds"]) == {2}
    added = paired[paired["method"] == "simclr+equimod"]
    assert sorted(set(added["reference_method"])) == ["simclr", "simclr+equimod"]
    assert added[added["reference_method"] == "simclr+equimod"]["reference_value"].tolist() == [92.79]
    assert set(paired[paired["method"] == "simclr+clever"]["reference_method"]) == {"simclr"}
    assert set(paired["backbone"]) == {"resnet18"}
    assert set(paired["data"]) == {"cifar10"}


@pytest.mark.parametrize(
    ("batch_size", "line"),
    [(None, "missing column batch_size"), ("many", "line 2: batch_size is 'many', which is not a number")],
)
def test_a_file_without_batch_sizes_is_refused(tmp_path: Path, batch_size: str | None, line: str) -> None:
    table = pd.read_csv(REFERENCES, dtype=str).fillna("").drop(columns="batch_size")
    if batch_size is not None:
        table["batch_size"] = batch_size
    table.to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(UserError, match=rf"bad\.csv: {line}"):
        read_references(tmp_path / "bad.csv")
