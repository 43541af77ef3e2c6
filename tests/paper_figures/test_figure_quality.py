"""The figure of quality: rank correlations against SciPy, and intervals that depend on the number of configurations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import figure_quality
import numpy as np
import pandas as pd
import pytest
from figure_quality import MEASURES, POOLED, correlate, correlations, pairs
from scipy import stats

from clever.errors import UserError
from clever.evaluation.quality.protocol import evaluate
from clever.results.records import COLUMNS

METHODS = ("dino", "dino+clever", "simsiam", "simsiam+clever", "byol")


def make_records(noise: float = 0.0, seeds: int = 3, backbones: tuple[str, ...] = ("resnet", "vit")) -> pd.DataFrame:
    """RankMe rises with the accuracy, uniformity falls with it, and alpha is further above 1 the lower the accuracy
    is."""
    draw = np.random.default_rng(3)
    rows: list[dict[str, Any]] = []
    for place, backbone in enumerate(backbones):
        for number, method in enumerate((*METHODS, "untrained")):
            for seed in range(seeds):
                accuracy = 40.0 + 10 * place + 3 * number + 0.1 * seed
                seen = accuracy + noise * draw.normal()
                values = {
                    ("linear", "ALL", "orig", "top1"): accuracy,
                    ("linear", "ALL", "cj", "top1"): 1.0,
                    ("linear", "IR", "orig", "top1"): -accuracy,
                    ("quality", "ALL", "orig", "rankme"): seen**2,
                    ("quality", "ALL", "orig", "uniformity"): -seen,
                    ("quality", "ALL", "orig", "alpha_req"): 1.0 + (-1) ** seed * (100 - accuracy) / 100,
                    ("quality", "ALL", "orig", "tolerance"): 0.5,
                    ("quality", "IR", "orig", "rankme"): -seen,
                }
                for (protocol, part, perturbation, metric), value in values.items():
                    run = f"d/{backbone}/{method}/caug/seed{seed}"
                    names = {"run": run, "data": "d", "backbone": backbone, "method": method, "augmentation": "caug"}
                    what = {"protocol": protocol, "part": part, "perturbation": perturbation, "metric": metric}
                    rest = {"seed": seed, "value": value, "n": 9, "selection": "last", "epoch": 0}
                    rows.append(dict.fromkeys(COLUMNS, "x") | names | what | rest)
    return pd.DataFrame(rows)


def test_correlations_over_trained_runs_equal_scipy() -> None:
    table = pairs(make_records(noise=4.0))
    assert len(table) == 2 * len(METHODS) * 3
    for measure in ("rankme", "uniformity", "alpha_req"):
        expected = stats.spearmanr(table["accuracy"], table[measure]).statistic
        found = correlate(table, measure)
        assert found is not None
        assert found.value == pytest.approx(expected)
        assert found.low <= found.value <= found.high
        assert found.runs == len(table)
    assert correlate(table, "tolerance") is None  # constant
    assert correlate(table, "lidar") is None  # not measured


def test_planted_orders_are_found_in_every_group() -> None:
    found = correlations(pairs(make_records()))["d"]
    assert set(found) == {POOLED, "resnet", "vit"}
    for group in found.values():
        assert group["rankme"].value == pytest.approx(1.0)
        assert group["uniformity"].value == pytest.approx(-1.0)
        # Only the distance from 1 counts, not its sign.
        assert group["alpha_req"].value == pytest.approx(-1.0)
        assert group["rankme"].low == pytest.approx(1.0)


def test_the_interval_resamples_configurations_not_seeds() -> None:
    """Copies of every seed add runs but no information, so the width of the interval does not change."""
    few, many = (pairs(make_records(noise=0.0, seeds=seeds, backbones=("vit",))) for seeds in (1, 20))
    draw = np.random.default_rng(0)
    order = dict(zip(METHODS, draw.permutation(len(METHODS)), strict=True))
    intervals = []
    for table in (few, many):
        found = correlate(table.assign(rankme=[float(order[method]) for method in table["method"]]), "rankme")
        assert found is not None
        intervals.append(found.high - found.low)
    assert intervals[1] > 0.8 * intervals[0] > 0.4


def test_too_few_configurations_have_no_interval() -> None:
    table = pairs(make_records(backbones=("vit",)))
    three = table[table["method"].isin(METHODS[:3])]
    found = correlate(three, "rankme")
    assert found is not None
    assert math.isnan(found.low)
    assert correlate(three.iloc[:3], "rankme") is None
    empty = figure_quality.draw(correlations(three.iloc[:3]))
    assert not empty.axes
    assert "No data set has 4 trained runs" in empty.texts[0].get_text()


def test_the_figure_shows_each_measure_and_group(tmp_path: Path) -> None:
    figure = figure_quality.draw(correlations(pairs(make_records(noise=4.0))))
    [axes] = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["RankMe (+)", "|α-ReQ − 1| (−)", "uniformity (−)"]
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "all backbones: 30 runs",
        "resnet: 15 runs",
        "vit: 15 runs",
    ]
    records = tmp_path / "records.csv"
    make_records(noise=4.0).to_csv(records, index=False)
    outputs = [tmp_path / name for name in ("one.pdf", "two.pdf", "one.png")]
    figure_quality.main(["--records", str(records), "--output", *map(str, outputs)])
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_missing_measures_are_reported() -> None:
    records = make_records()
    with pytest.raises(UserError, match="no trained run has records of both protocols, linear and quality"):
        pairs(records[records["protocol"] == "linear"])


def test_the_measures_match_the_protocol_s_records() -> None:
    documented = str(evaluate.__doc__)
    assert all(f"``{measure}``" in documented for measure in MEASURES)
