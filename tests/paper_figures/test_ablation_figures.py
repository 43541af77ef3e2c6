"""The figures of hyper-parameters and epochs, read back from their axes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import figure_epochs
import figure_hyperparameters
import numpy as np
import pandas as pd
import pytest
from arguments import PUBLISHED_FOLDER
from grids import Measurement, Numbers, read_numbers
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from published_values import read_published
from style import SUFFIXES

from clever.errors import UserError
from clever.results.records import COLUMNS, read_records
from clever.results.run_description import read_runs

CLEVER = {"name": "clever", "separation_ratio": 0.8, "head_norm_weight": 0.001, "ef_baseline": {}}
BASELINE = {"name": "dino", "out_dim": 64}
VALUES = {
    # (method, augmentation, epochs): values of two seeds on orig; cj_rot is 10 lower
    ("dino", "caug", 20): (50.0, 52.0),
    ("dino+clever", "caug", 20): (53.0, 57.0),
    ("dino+clever@separation_ratio=0.5", "caug", 20): (51.0, 52.0),
    ("dino+clever@separation_ratio=0.9", "caug", 20): (54.0, 54.0),
    ("dino+clever@head_norm_weight=0", "caug", 20): (49.0, 50.0),
    ("dino+clever@head_norm_weight=1e-05", "caug", 20): (49.5, 50.0),
    ("dino+clever@ef_baseline.out_dim=16", "caug", 20): (48.0, 48.0),
    ("dino", "caug@epochs=100", 100): (60.0, 61.0),
    ("dino+clever", "caug@epochs=100", 100): (63.0, 64.0),
    ("dino", "caug@learning_rate=0.1", 20): (1.0, 2.0),
}


def write(folder: Path, data: str = "photos", values: dict[Any, tuple[float, float]] = VALUES) -> list[str]:
    """Write records.csv and runs.json, and return the options that name them."""
    records, runs = [], []
    for (method, augmentation, epochs), each in values.items():
        for seed, value in enumerate(each):
            run = f"{data}/vit_tiny/{method}/{augmentation}/seed{seed}"
            axes = {"run": run, "data": data, "backbone": "vit_tiny", "method": method, "augmentation": augmentation}
            for perturbation, less in (("orig", 0), ("cj_rot", 10)):
                what = {"protocol": "linear", "part": "ALL", "perturbation": perturbation, "metric": "top1"}
                rest = {"seed": seed, "value": value - less, "n": 9, "selection": "last", "epoch": 9}
                records.append(dict.fromkeys(COLUMNS, "x") | axes | what | rest)
            equivariance = CLEVER if "+" in method else {"name": "none"}
            recipe = {"method": {"baseline": BASELINE, "equivariance": equivariance}}
            described = {"recipe_digest": "d", "data_checksum": "c", "git_commit": "g", "health": "ok"}
            runs.append({"run": run, "epochs": epochs, "recipe": recipe} | described)
    pd.DataFrame(records).to_csv(folder / "records.csv", index=False)
    (folder / "runs.json").write_text(json.dumps(runs), encoding="utf-8")
    return ["--records", str(folder / "records.csv"), "--runs", str(folder / "runs.json")]


def numbers(folder: Path) -> Numbers:
    published = read_published(PUBLISHED_FOLDER)
    return read_numbers(read_records(folder / "records.csv"), published, read_runs(folder / "runs.json"))


def shown(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_visible()]


def test_each_option_has_a_panel_with_sorted_values_and_the_default_ringed(tmp_path: Path) -> None:
    write(tmp_path)
    figure = figure_hyperparameters.draw(numbers(tmp_path), Measurement("linear", "ALL", ""), ["orig", "cj_rot"])
    panels = {axes.get_xlabel(): axes for axes in shown(figure)}
    labels = {name: [label.get_text() for label in axes.get_xticklabels()] for name, axes in panels.items()}
    assert labels == {
        "separation ratio: share of IR": ["0.5", "0.8", "0.9"],
        "weight of head norm": ["0", "1e-05", "0.001"],
        # The EF's head has the baseline's 64 outputs by default.
        "outputs of the EF's head": ["16", "64"],
    }
    axes = panels["separation ratio: share of IR"]
    drawn = [np.asarray(line.get_ydata()).tolist() for line in axes.lines if line.get_linestyle() == "-"]
    assert drawn == [[51.5, 55.0, 54.0], [41.5, 45.0, 44.0]]
    rings = [line for line in axes.lines if line.get_markerfacecolor() == "none"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in rings] == [(1, 55.0), (1, 45.0)]  # type: ignore[index]
    baselines = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [line.get_ydata()[0] for line in baselines] == [51.0, 41.0]  # type: ignore[index]


def test_accuracy_against_epochs_with_the_published_curves(tmp_path: Path) -> None:
    write(tmp_path, data="imagenet100")
    figure = figure_epochs.draw(numbers(tmp_path), Measurement("linear", "ALL", "cj_rot"))
    (axes,) = shown(figure)
    assert axes.get_title(loc="left") == "vit_tiny · caug"
    curves = [(line.get_xdata(), line.get_ydata(), line.get_markerfacecolor() == "white") for line in axes.lines]
    found = [(np.asarray(x).tolist(), np.asarray(y).tolist()) for x, y, hollow in curves if not hollow and len(x) == 2]
    # dino and dino+clever; the plain runs have 20 epochs, and other options of the schedule are not in this figure.
    assert ([20.0, 100.0], [41.0, 50.5]) in found
    assert ([20.0, 100.0], [45.0, 53.5]) in found
    printed = [(np.asarray(x).tolist(), np.asarray(y).tolist()) for x, y, hollow in curves if hollow]
    assert ([100.0, 200.0, 300.0, 400.0, 500.0], [47.2, 62.6, 66.7, 66.9, 68.2]) in printed


def test_published_curves_on_other_data_have_separate_panels(tmp_path: Path) -> None:
    write(tmp_path)
    figure = figure_epochs.draw(numbers(tmp_path), Measurement("linear", "ALL", "cj_rot"))
    titles = [(axes.get_title(loc="left"), axes.get_title(loc="right")) for axes in shown(figure)]
    assert titles[0] == ("vit_tiny · caug", "photos")
    assert titles[1:] == [
        (f"{backbone} · caug", "published")
        for backbone in ("vit_tiny", "vit_small", "resnet18", "resnet50", "vmamba_tiny")
    ]
    assert "Published values are on imagenet100 and not comparable" in figure.legends[0].get_title().get_text()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (figure_hyperparameters, "no record of protocol linear is of an ablation; add axes"),
        (figure_epochs, "no method was pre-trained for several numbers of epochs"),
    ],
)
def test_a_study_without_the_axis_gives_one_line(tmp_path: Path, script: Any, message: str) -> None:
    options = write(tmp_path, values={("dino", "caug", 20): (50.0, 52.0)})
    with pytest.raises(UserError, match=message):
        script.main([*options, "--output", str(tmp_path / "figure.png")])
    assert not (tmp_path / "figure.png").exists()


@pytest.mark.parametrize("script", [figure_hyperparameters, figure_epochs])
def test_redrawing_gives_the_same_bytes(tmp_path: Path, script: Any) -> None:
    options = write(tmp_path)
    for suffix in SUFFIXES:
        paths = [tmp_path / f"{name}{suffix}" for name in ("first", "second")]
        for path in paths:
            script.main([*options, "--output", str(path)])
        assert paths[0].read_bytes() == paths[1].read_bytes()
