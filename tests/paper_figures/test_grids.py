"""Tables of methods, parts, SimSiam, semi-supervised learning and loss terms against numbers computed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import table_loss_terms
import table_methods
import table_parts
import table_semi
import table_simsiam
import table_transfer
from names import NOT_PUBLISHED

from clever.errors import UserError
from clever.results.records import COLUMNS

Values = Mapping[tuple[str, str, str, str], list[float]]
"""Values for seeds 0, 1, ... by method, protocol, part and perturbation."""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_records(
        values: Values,
        data: str = "photos",
        backbone: str = "resnet50",
        augmentation: str = "caug",
        metric: str = "top1",
    ) -> Path:
        rows: list[dict[str, Any]] = [
            dict.fromkeys(COLUMNS, "x")
            | {"run": f"{data}/{backbone}/{method}/{augmentation}/seed{seed}", "data": data, "backbone": backbone}
            | {"method": method, "augmentation": augmentation, "seed": seed, "protocol": protocol, "part": part}
            | {"perturbation": perturbation, "metric": metric, "value": value, "n": 12, "selection": "last", "epoch": 9}
            for (method, protocol, part, perturbation), each in values.items()
            for seed, value in enumerate(each)
        ]
        path = tmp_path / "records.csv"
        pd.DataFrame(rows).to_csv(path, index=False)
        return path

    return write_records


def rows(text: str) -> list[list[str]]:
    """All lines of the Markdown tables except the rules, as cells."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("| --")]
    return [[cell.strip().replace("\\", "") for cell in line.split("|")[1:-1]] for line in lines]


def drawn(script: Any, records: Path, *more: str) -> tuple[str, pd.DataFrame]:
    outputs = [records.parent / f"table{suffix}" for suffix in (".md", ".csv", ".tex")]
    script.main(["--records", str(records), *more, "--output", *map(str, outputs)])
    assert r"\begin{tabular}" in outputs[2].read_text(encoding="utf-8")
    return outputs[0].read_text(encoding="utf-8"), pd.read_csv(outputs[1])


def test_methods_are_compared_with_their_baseline_and_table_8_is_shown_as_printed(write: Write) -> None:
    values = {
        ("dino", "linear", "ALL", "orig"): [40.0, 44.0],
        ("dino+clever", "linear", "ALL", "orig"): [43.0, 47.0],
        ("untrained", "linear", "ALL", "orig"): [20.0],
        ("dino", "linear", "ALL", "cj"): [1.0, 2.0],
    }
    text, table = drawn(table_methods, write(values))
    found = rows(text)
    heads = ["backbone", "method", "augmentation", "rotated views", "values", "top-1", "top-1: Δ [95 %]"]
    assert found[0] == heads
    assert found[1] == ["resnet50", "control: untrained", "caug", "yes", "ours, 1 seed", "20.0", "–"]
    assert found[2] == ["resnet50", "dino", "caug", "yes", "ours, 2 seeds", "42.0 ± 2.8", "–"]
    # Both seeds gain 3, so the interval has no width and excludes 0.
    assert found[3][1:] == ["dino+clever", "caug", "yes", "ours, 2 seeds", "45.0 ± 2.8", "+3.0 [+3.0, +3.0] *"]
    printed = {tuple(line[1:4]): line[7:] for line in found[5:]}
    assert printed["resnet50", "RefosNet (MoCo v2)", "–"] == ["80.5", "95.6"]
    assert printed["vmamba_tiny", "CLeVER", "caug"] == ["83.0 ± 0.072", "96.4"]
    assert len(printed) == 18
    ours = table[(table["line"] == "resnet50, dino+clever, caug, yes") & (table["kind"] == "ours")].iloc[0]
    assert (ours["value"], ours["difference"], ours["low"]) == (45.0, 3.0, 3.0)


def test_the_published_value_of_the_same_cell_is_below_ours(write: Write) -> None:
    values = {("dino", "linear", "ALL", "orig"): [70.0], ("simclr", "linear", "ALL", "orig"): [60.0]}
    text, table = drawn(table_methods, write(values, data="imagenet100"))
    found = rows(text)
    assert found[1][4:6] == ["ours, 1 seed", "70.0"]
    assert found[2][1:6] == ["dino", "caug", "yes", "published, 200 epochs (1)", "78.4 ± 0.130"]
    assert found[3][1:6] == ["simclr", "caug", "yes", "ours, 1 seed", "60.0"]
    assert "(1) README of the authors' repository" in text.replace("\\", "")
    assert f"Rows without a published row below them: {NOT_PUBLISHED}." in text
    published = table[table["kind"] == "published"].iloc[0]
    assert (published["value"], published["std"], published["epochs"]) == (78.4, 0.13, 200)


def test_an_augmentation_under_another_name_has_the_published_values_of_its_recipe(write: Write) -> None:
    records = write({("dino", "linear", "ALL", "orig"): [70.0]}, data="imagenet100", augmentation="rotated")
    described = {"recipe_digest": "d", "data_checksum": "c", "git_commit": "g", "health": "ok", "epochs": 9}
    run = {"run": "imagenet100/resnet50/dino/rotated/seed0", "recipe": {"augmentation": {"name": "caug"}}} | described
    path = records.parent / "runs.json"
    path.write_text(json.dumps([run]), encoding="utf-8")
    text, _ = drawn(table_methods, records, "--runs", str(path))
    assert rows(text)[2][1:6] == ["dino", "rotated", "yes", "published, 200 epochs (1)", "78.4 ± 0.130"]
    text, _ = drawn(table_methods, records)
    assert rows(text)[1][3] == "no"
    assert "published, 200 epochs (1)" not in [line[4] for line in rows(text)]


def test_parts_are_compared_with_the_whole_representation_of_the_same_run(write: Write) -> None:
    values = {
        ("dino", "linear", "ALL", "orig"): [50.0, 50.0],
        ("dino+clever", "linear", "ALL", "orig"): [40.0, 44.0],
        ("dino+clever", "linear", "IR", "orig"): [39.0, 41.0],
        ("dino+clever", "linear", "EF", "orig"): [20.0, 21.0],
        ("dino+clever", "linear", "EF", "cj_rot"): [10.0, 11.0],
    }
    text, _ = drawn(table_parts, write(values))
    found = rows(text)
    assert found[0][3:] == ["part", "values", "orig", "orig: Δ [95 %]", "cj_rot", "cj_rot: Δ [95 %]"]
    # −1 and −3 have mean −2, and the interval extends by 12.706 · 1 to either side.
    assert [line[3:] for line in found[1:4]] == [
        ["ALL", "ours, 2 seeds", "42.0 ± 2.8", "–", "–", "–"],
        ["IR", "ours, 2 seeds", "40.0 ± 1.4", "-2.0 [-14.7, +10.7]", "–", "–"],
        ["EF", "ours, 2 seeds", "20.5 ± 0.7", "-21.5 [-40.6, -2.4] *", "10.5 ± 0.7", "–"],
    ]
    # DDCL's invariant part alone, for ResNet-50, CAug, 500 epochs.
    printed = [line for line in found if line[2] == "DIR only" and line[3:6] == ["caug", "IR", "500"]]
    assert printed[0][7:] == ["79.11", "78.97", "77.29", "49.0"]


def test_the_simsiam_family_is_shown_with_ddcl_s_values(write: Write) -> None:
    values = {
        ("simsiam", "linear", "ALL", "cj_rot"): [70.0],
        ("simsiam+clever", "linear", "ALL", "cj_rot"): [71.0],
        ("dino", "linear", "ALL", "cj_rot"): [80.0],
    }
    text, _ = drawn(table_simsiam, write(values, data="imagenet100"))
    assert [line[1:] for line in rows(text)[1:]] == [
        ["simsiam", "caug", "ours, 1 seed", "70.0", "–"],
        ["simsiam", "caug", "published, 500 epochs (1)", "77.0", ""],
        ["simsiam+clever", "caug", "ours, 1 seed", "71.0", "+1.0"],
        ["simsiam+clever", "caug", "published, 500 epochs (1)", "77.6", ""],
    ]
    text, _ = drawn(table_simsiam, write(values))
    assert len(rows(text)) == 3 + 1 + 9
    with pytest.raises(UserError, match="no record of protocol linear is of a method with the baseline simsiam"):
        drawn(table_simsiam, write({("dino", "linear", "ALL", "orig"): [1.0]}))


def test_shares_of_labels_and_parts_are_columns(write: Write) -> None:
    values = {
        ("dino", "semi1", "ALL", "orig"): [20.0],
        ("dino", "semi10", "ALL", "orig"): [40.0],
        ("dino+clever", "semi1", "ALL", "orig"): [22.0],
        ("dino+clever", "semi1", "IR", "orig"): [19.0],
        ("dino+clever", "semi10", "ALL", "orig"): [41.0],
        ("dino+clever", "semi10+long", "ALL", "orig"): [45.0],
    }
    text, _ = drawn(table_semi, write(values))
    found = rows(text)
    shown = ["1 %, ALL", "1 %, IR", "10 %, ALL", "10 %, ALL, long"]
    assert found[0][4::2] == shown
    assert found[1][4:] == ["20.0", "–", "–", "–", "40.0", "–", "–", "–"]
    # The baseline has no IR, so its whole representation is the reference for both.
    assert found[2][4:] == ["22.0", "+2.0", "19.0", "-1.0", "41.0", "+1.0", "45.0", "–"]
    assert NOT_PUBLISHED in text


def test_transfer_has_a_table_per_mode_and_metric_with_ddcl_s_values(write: Write) -> None:
    values = {
        ("simsiam", "transfer_linear+cub200", "ALL", "orig"): [30.0],
        ("simsiam+ddcl", "transfer_linear+cub200", "ALL", "orig"): [33.0],
        ("simsiam+ddcl", "transfer_linear+cub200", "IR", "orig"): [28.0],
        ("simsiam", "transfer_finetune+pets", "ALL", "orig"): [60.0],
        ("simsiam", "transfer_finetune+pets+short", "ALL", "orig"): [50.0],
    }
    text, _ = drawn(table_transfer, write(values, data="imagenet100"))
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert titles == [
        "## Transfer, linear probe, top-1 accuracy, orig: from imagenet100",
        "## Transfer, backbone and classifier fine-tuned, top-1 accuracy, orig: from imagenet100",
        "## Published: Table 3 of DDCL",
    ]
    found = rows(text)
    assert found[0][5:] == ["cub200", "cub200: Δ [95 %]"]
    # CAug, 500 epochs, ImageNet-100.
    assert [line[1:2] + line[3:] for line in found[1:7]] == [
        ["simsiam", "ALL", "ours, 1 seed", "30.0", "–"],
        ["simsiam", "ALL", "published, 500 epochs (1)", "34.79", ""],
        ["simsiam+ddcl", "ALL", "ours, 1 seed", "33.0", "+3.0"],
        ["simsiam+ddcl", "ALL", "published, 500 epochs (1)", "35.11", ""],
        ["simsiam+ddcl", "IR", "ours, 1 seed", "28.0", "-2.0"],
        ["simsiam+ddcl", "IR", "published, 500 epochs (1)", "34.88", ""],
    ]
    assert found[7][5::2] == ["pets", "pets, short"]
    text, _ = drawn(table_transfer, write(values))
    assert ["34.79", "78.57", "65.37"] in [line[7:] for line in rows(text) if line[2:4] == ["SimSiam", "caug"]]


def test_loss_terms_come_from_the_recipes_of_the_runs(write: Write) -> None:
    methods = {
        "dino": {"name": "none"},
        "dino+clever": {"name": "clever", "orthogonality_weight": 1.0, "head_norm_weight": 0.001},
        "dino+clever@head_norm_weight=0": {"name": "clever", "orthogonality_weight": 1.0, "head_norm_weight": 0.0},
        "dino+clever@orthogonality_weight=0": {
            "name": "clever",
            "orthogonality_weight": 0.0,
            "head_norm_weight": 0.001,
        },
        "dino+clever@separation_ratio=0.5": {"name": "clever", "orthogonality_weight": 1.0, "head_norm_weight": 0.001},
        "dino+essl": {"name": "essl"},
        "simclr": {"name": "none"},
    }
    records = write({(method, "linear", "ALL", "orig"): [40.0 + place] for place, method in enumerate(methods)})
    runs = [
        {
            "run": f"photos/resnet50/{name}/caug/seed0",
            "epochs": 20,
            "health": "ok",
            "recipe_digest": "d",
            "data_checksum": "c",
            "git_commit": "g",
            "recipe": {"method": {"equivariance": equivariance}},
        }
        for name, equivariance in methods.items()
    ]
    path = records.parent / "runs.json"
    path.write_text(json.dumps(runs), encoding="utf-8")
    text, _ = drawn(table_loss_terms, records, "--runs", str(path))
    assert [line[1:2] + line[3:] for line in rows(text)[1:]] == [
        ["dino", "whole vector", "–", "–", "ours, 20 epochs, 1 seed", "40.0", "–"],
        ["dino+clever", "IR", "1", "0.001", "ours, 20 epochs, 1 seed", "41.0", "+1.0"],
        ["dino+clever@head_norm_weight=0", "IR", "1", "–", "ours, 20 epochs, 1 seed", "42.0", "+2.0"],
        ["dino+clever@orthogonality_weight=0", "IR", "–", "0.001", "ours, 20 epochs, 1 seed", "43.0", "+3.0"],
    ]


@pytest.mark.parametrize(
    "script", [table_methods, table_parts, table_simsiam, table_semi, table_transfer, table_loss_terms]
)
def test_without_records_there_is_one_line_and_no_file(write: Write, tmp_path: Path, script: Any) -> None:
    records = write({("dino", "knn20", "ALL", "orig"): [1.0]})
    with pytest.raises(UserError, match="no record of protocol"):
        script.main(["--records", str(records), "--output", str(tmp_path / "table.md")])
    assert not (tmp_path / "table.md").exists()
