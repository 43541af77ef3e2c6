"""Tables of saliency, video, detection and corruption against numbers computed by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import table_corruption
import table_detection
import table_saliency
import table_video
from names import NOT_PUBLISHED

from clever.errors import UserError
from clever.evaluation.detection.scores import METRICS
from clever.evaluation.imagenet_c import CORRUPTIONS
from clever.evaluation.video.scores import ObjectScore, summary
from clever.results.records import COLUMNS

Values = Mapping[tuple[str, str, str], list[float]]
"""Values for seeds 0, 1, ... by method, part and metric."""
WriteRecords = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteRecords:
    def write_records(protocol: str, values: Values, perturbation: str = "orig", name: str = "records.csv") -> Path:
        rows: list[dict[str, Any]] = [
            dict.fromkeys(COLUMNS, "x")
            | {"run": f"d/vit/{method}/caug/seed{seed}", "data": "d", "backbone": "vit", "method": method}
            | {"augmentation": "caug", "seed": seed, "protocol": protocol, "part": part, "perturbation": perturbation}
            | {"metric": metric, "value": value, "n": 12, "selection": "last", "epoch": 0}
            for (method, part, metric), each in values.items()
            for seed, value in enumerate(each)
        ]
        pd.DataFrame(rows).to_csv(tmp_path / name, index=False)
        return tmp_path / name

    return write_records


def rows(text: str) -> list[list[str]]:
    """All lines of the Markdown tables except the rules, as cells."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("| --")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def drawn(script: Any, records: Path, folder: Path) -> tuple[str, pd.DataFrame]:
    outputs = [folder / f"table{suffix}" for suffix in (".md", ".csv", ".tex")]
    script.main(["--records", str(records), "--output", *map(str, outputs)])
    assert r"\begin{tabular}" in outputs[2].read_text(encoding="utf-8")
    return outputs[0].read_text(encoding="utf-8"), pd.read_csv(outputs[1])


def test_saliency_compares_each_method_of_segmentation_with_the_baseline(write: WriteRecords, tmp_path: Path) -> None:
    values = {
        ("dino", "ALL", "tokencut_iou"): [40.0, 44.0],
        ("dino+clever", "ALL", "tokencut_iou"): [43.0, 47.0],
        ("dino+clever", "EF", "tokencut_iou"): [20.0, 21.0],
        ("dino", "ALL", "random_iou"): [25.0, 25.0],
    }
    text, table = drawn(table_saliency, write("saliency+pets", values), tmp_path)
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert titles[:3] == [
        "## Unsupervised saliency+pets, TokenCut: d, ALL",
        "## Unsupervised saliency+pets, random masks: d, ALL",
        "## Unsupervised saliency+pets, TokenCut: d, EF",
    ]
    found = rows(text)
    assert found[0] == ["backbone", "augmentation", "method", "seeds", "IoU", "IoU: Δ [95 %]"]
    # The means are 42 and 45, the standard deviations 4 / sqrt(2); both seeds gain 3, so the interval has no width.
    assert found[1][2:] == ["dino", "2 seeds", "42.0 ± 2.8", "–"]
    assert found[2][2:] == ["dino+clever", "2 seeds", "45.0 ± 2.8", r"+3.0 \[+3.0, +3.0\] \*"]
    assert found[4][2:] == ["dino", "2 seeds", "25.0 ± 0.0"]  # no comparison, so no column of differences
    assert "over 12 photographs" in text
    assert NOT_PUBLISHED in text
    gains = table.set_index(["protocol", "part", "method", "metric"])["difference"].dropna()
    assert gains.to_dict() == {("saliency+pets", "ALL", "dino+clever", "tokencut_iou"): 3.0}


def test_saliency_shows_and_labels_the_values_of_tokencut_s_authors(write: WriteRecords, tmp_path: Path) -> None:
    text, _ = drawn(table_saliency, write("saliency", {("dino", "ALL", "lost_iou"): [30.0]}), tmp_path)
    published = text[text.index("## Published by others") :]
    assert "not CLeVER" in published
    lines = {line[0]: line for line in rows(published)}
    assert lines["ecssd"][1:] == ["imagenet1k", "vit_small", "DINO", "80.3", "71.2", "91.8", "87.4", "77.2", "93.4"]
    assert lines["duts"][4:7] == ["67.2", "57.6", "90.3"]


def test_columns_match_the_protocols_metrics() -> None:
    """Otherwise, a metric renamed in a protocol would vanish from its table without an error."""
    video = {key for block in table_video.LAYOUT.blocks for key in block.columns}
    assert video < set(summary([ObjectScore("a", 1, (0.5,) * 4, (0.5,) * 4)]))
    detection = [key for block in table_detection.LAYOUT.blocks for key in block.columns]
    assert detection == [f"{kind}_{name}" for kind in ("box", "mask") for name in METRICS]
    corruption = [key for block in table_corruption.LAYOUT.blocks[1:] for key in block.columns]
    assert corruption == [f"{name} relative_top1" for name in CORRUPTIONS]


def test_corruption_is_relative_to_the_clean_accuracy(write: WriteRecords, tmp_path: Path) -> None:
    frames = [
        pd.read_csv(write("corruption", {("dino", "ALL", metric): values}, perturbation, f"{number}.csv"))
        for number, (perturbation, metric, values) in enumerate(
            [
                ("orig", "top1", [60.0, 50.0]),
                ("corrupted", "relative_top1", [55.0, 45.0]),
                ("fog", "relative_top1", [70.0, 71.0]),
                ("fog_3", "top1", [42.0, 35.0]),  # for one severity: not in the table
            ]
        )
    ]
    path = tmp_path / "records.csv"
    pd.concat(frames).to_csv(path, index=False)
    text, table = drawn(table_corruption, path, tmp_path)
    found = rows(text)
    assert found[0][4:] == ["clean top-1", "share that remains"]
    assert found[1][4:] == ["55.0 ± 7.1", "50.0 ± 7.1"]
    assert found[2][4:] == ["fog"]
    assert found[3][4:] == ["70.5 ± 0.7"]
    assert set(table["metric"]) == {"top1", "corrupted relative_top1", "fog relative_top1"}


def test_detection_omits_sizes_without_objects(write: WriteRecords, tmp_path: Path) -> None:
    values = {("dino", "ALL", "box_ap"): [1.25], ("dino", "ALL", "mask_ap"): [0.5], ("x", "ALL", "mask_ap"): [0.0]}
    text, _ = drawn(table_detection, write("detection", values), tmp_path)
    assert [line[4:] for line in rows(text)] == [["AP"], ["1.2"], ["AP"], ["0.5"], ["0.0"]]
    assert "1 seed" in text


@pytest.mark.parametrize("script", [table_saliency, table_video, table_detection, table_corruption])
def test_a_study_without_the_protocol_is_named(write: WriteRecords, tmp_path: Path, script: Any) -> None:
    path = write("linear", {("dino", "ALL", "top1"): [30.0]})
    protocol = script.LAYOUT.protocol
    with pytest.raises(UserError, match=f"no record of protocol {protocol}; add evaluations.{protocol} to the study"):
        script.main(["--records", str(path), "--output", str(tmp_path / "table.md")])
    assert not (tmp_path / "table.md").exists()
