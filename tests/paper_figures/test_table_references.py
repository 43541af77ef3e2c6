"""Measured accuracies, with published ones for the same data set, backbone and baseline."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import table_references
from references import read_references

from clever.results.records import COLUMNS


def write_records(folder: Path, rows: list[tuple[str, str, str, int, str, float]]) -> Path:
    """Write rows (backbone, method, protocol, seed, metric, value), all for cifar10 and baug."""
    table = pd.DataFrame(
        [
            dict.fromkeys(COLUMNS, "x")
            | {"run": f"cifar10/{backbone}/{method}/baug/seed{seed}", "data": "cifar10", "backbone": backbone}
            | {"method": method, "augmentation": "baug", "seed": seed, "protocol": protocol, "part": "ALL"}
            | {"perturbation": "orig", "metric": metric, "value": value, "n": 10, "selection": "last", "epoch": 0}
            for backbone, method, protocol, seed, metric, value in rows
        ]
    )
    table.to_csv(folder / "records.csv", index=False)
    return folder / "records.csv"


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return write_records(
        tmp_path,
        [
            ("resnet18", "simsiam", "linear", 0, "top1", 88.0),
            ("resnet18", "simsiam", "linear", 1, "top1", 89.0),
            ("resnet18", "simsiam", "linear", 0, "top5", 99.0),
            ("resnet18", "simsiam", "linear", 1, "top5", 99.4),
            ("resnet18", "simsiam", "knn", 0, "top1", 84.0),
            ("resnet18", "simsiam", "knn", 1, "top1", 85.0),
            ("resnet10t_half", "dino", "linear", 0, "top1", 40.0),
            ("resnet18", "untrained", "linear", 0, "top1", 28.0),
        ],
    )


def run(folder: Path, records: Path, *options: str) -> tuple[str, pd.DataFrame, str]:
    outputs = [folder / f"table.{suffix}" for suffix in ("md", "csv", "tex")]
    table_references.main(["--records", str(records), *options, "--output", *map(str, outputs)])
    markdown, latex = outputs[0].read_text(encoding="utf-8"), outputs[2].read_text(encoding="utf-8")
    return markdown, pd.read_csv(outputs[1]), latex


def cells(markdown: str) -> list[list[str]]:
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_measured_and_published_accuracies(records: Path, tmp_path: Path) -> None:
    runs = [
        {"run": f"cifar10/resnet18/simsiam/baug/seed{seed}", "epochs": 1000, "health": "ok" if seed else "collapsed"}
        | {"recipe": {"optimisation": {"batch_size": 256}}, "recipe_digest": "d1935", "data_checksum": "5eed"}
        | {"git_commit": "c0ffee"}
        for seed in (0, 1)
    ]
    (tmp_path / "runs.json").write_text(json.dumps(runs), encoding="utf-8")
    markdown, pairs, latex = run(tmp_path, records, "--runs", str(tmp_path / "runs.json"))
    heads, _, *rows = cells(markdown)
    assert heads == ["backbone", "what", "protocol", "values", "epochs", "batch", "top1", "top5"]
    ours = [row for row in rows if row[3].startswith("ours")]
    what = "simsiam, baug ‡"
    assert ours == [
        ["resnet18", what, "knn", "ours, 2 seeds", "1000", "256", "84.5", "–"],
        ["resnet18", what, "linear", "ours, 2 seeds", "1000", "256", "88.5", "99.2"],
    ]
    theirs = read_references()
    theirs = theirs[
        (theirs["data"] == "cifar10") & (theirs["backbone"] == "resnet18") & (theirs["method"] == "simsiam")
    ]
    printed = [row for row in rows if row[3].startswith("published")]
    assert sorted(row[6] for row in printed) == sorted(
        f"{value:g}" for value in theirs["value"][theirs["metric"] == "top1"]
    )
    # solo-learn's README prints both, for the head that is trained with the backbone.
    assert ["1000", "256", "90.51", "99.72"] in [row[4:] for row in printed if row[2] == "online_linear"]
    assert "vturrisi/solo-learn at commit 9187ea3" in markdown
    assert "lightly-ai/lightly at commit e8d317f" in markdown
    assert "Protocols differ" in markdown
    assert "dino with resnet10t_half: not published" in markdown
    assert set(pairs["healthy"]) == {"no"}
    assert set(pairs["epochs"]) == {1000}
    assert pairs[pairs["metric"] == "top5"]["value"].unique().tolist() == pytest.approx([99.2])
    assert latex.count(r"\begin{tabular}") == 1


def test_without_a_reference_the_table_says_so(tmp_path: Path) -> None:
    """MV-InfoNCE has no published values, but its recipe's table must not fail."""
    records = write_records(tmp_path, [("resnet18", "mv_infonce", "linear", 0, "top1", 70.0)])
    markdown, pairs, _ = run(tmp_path, records)
    assert pairs.empty
    assert "mv_infonce with resnet18: not published in the sources we have for this data set and backbone." in markdown


def test_without_runs_the_schedule_is_not_stated(records: Path, tmp_path: Path) -> None:
    markdown, pairs, _ = run(tmp_path, records)
    assert [row[4:6] for row in cells(markdown)[2:] if row[3].startswith("ours")] == [["n. s.", "n. s."]] * 2
    assert pairs["healthy"].isna().all()
