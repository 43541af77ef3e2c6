"""The figure of loss terms, read back from the axes."""

from __future__ import annotations

from pathlib import Path

import figure_loss_terms
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from style import ALARM, SUFFIXES
from synthetic_study import COLLAPSED, MakeStudy

from clever.errors import UserError
from clever.results.curves import numeric_curves, read_curves
from clever.results.run_description import read_runs


def _crosses(axes: Axes) -> list[tuple[float, float]]:
    points = []
    for line in axes.lines:
        if to_hex(str(line.get_color())) == ALARM:
            points += list(zip(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), strict=True))
    return points


def test_every_curve_is_drawn_in_its_panel(make_study: MakeStudy) -> None:
    study = make_study()
    figure = figure_loss_terms.draw(study.curves, {})
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_visible()}
    metrics = {panel.title: panel.metric for panel in figure_loss_terms.PANELS}
    assert {metrics[title] for title in panels} == set(study.curves["metric"])
    for title, axes in panels.items():
        mine = study.curves[study.curves["metric"] == metrics[title]]
        expected = sorted(line.sort_values("epoch")["value"].tolist() for _, line in mine.groupby("run"))
        drawn = sorted(
            np.asarray(line.get_ydata()).tolist() for line in axes.lines if len(np.atleast_1d(line.get_xdata())) == 3
        )
        assert drawn == expected
        assert axes.get_ylabel() != ""


def test_trouble_is_marked_where_it_was_reported(make_study: MakeStudy) -> None:
    sick = "digits/resnet10t/dino/caug/seed1"
    study = make_study(collapsed=[sick])
    first = study.curves[study.curves["run"] == sick].iloc[0]
    told = pd.DataFrame([{**first, "metric": "health", "epoch": 1, "value": "teacher collapsed"}])
    pd.concat([study.curves, told]).to_csv(study.curves_path, index=False)
    curves = read_curves(study.curves_path)
    trouble, silent = figure_loss_terms.find_trouble(curves, read_runs(study.runs_path))
    assert trouble == {sick: (1, "teacher collapsed")}
    assert silent == []
    figure = figure_loss_terms.draw(numeric_curves(curves, study.curves_path), trouble)
    chosen = study.curves[(study.curves["run"] == sick) & (study.curves["metric"] == "loss_contrast")]
    height = float(chosen.loc[chosen["epoch"] == 1, "value"].iloc[0])
    assert _crosses(figure.axes[0]) == [(1, height)]
    title = figure.legends[0].get_title().get_text()
    assert title == f"Not healthy from epoch 1: {sick}: teacher collapsed"


def test_without_an_epoch_the_last_point_is_marked(make_study: MakeStudy) -> None:
    sick = "digits/resnet10t/dino/caug/seed1"
    study = make_study(collapsed=[sick])
    trouble, _ = figure_loss_terms.find_trouble(read_curves(study.curves_path), read_runs(study.runs_path))
    assert trouble == {sick: (None, COLLAPSED)}
    figure = figure_loss_terms.draw(study.curves, trouble)
    assert [x for x, _ in _crosses(figure.axes[0])] == [2]


def test_silence_is_not_taken_for_health(make_study: MakeStudy) -> None:
    study = make_study(methods=("dino",), seeds=1)
    curves = read_curves(study.curves_path)
    trouble, silent = figure_loss_terms.find_trouble(curves, [])
    assert (trouble, silent) == ({}, sorted({run["run"] for run in study.runs}))
    figure = figure_loss_terms.draw(study.curves, trouble, silent)
    assert figure.legends[0].get_title().get_text() == f"Health not recorded: {', '.join(silent)}"
    assert figure_loss_terms.find_trouble(curves, study.runs) == ({}, [])


def test_two_backbones_do_not_share_a_panel(make_study: MakeStudy) -> None:
    study = make_study(backbones=("resnet10t", "resnet18"))
    figure = figure_loss_terms.draw(study.curves, {})
    contrast = [axes for axes in figure.axes if axes.get_title(loc="left") == "Contrast"]
    assert [axes.get_title(loc="right") for axes in contrast] == ["resnet10t", "resnet18"]
    for axes in contrast:
        mine = study.curves[
            (study.curves["backbone"] == axes.get_title(loc="right")) & (study.curves["metric"] == "loss_contrast")
        ]
        assert len([line for line in axes.lines if len(np.atleast_1d(line.get_xdata())) == 3]) == mine["run"].nunique()


def test_the_online_probe_is_drawn_where_it_was_measured(make_study: MakeStudy) -> None:
    study = make_study(methods=("dino",), seeds=1)
    run = study.curves.iloc[0]
    measured = [{**run, "metric": "online_linear_ir", "epoch": epoch, "value": 30.0 + epoch} for epoch in (1, 2)]
    figure = figure_loss_terms.draw(pd.concat([study.curves, pd.DataFrame(measured)]), {})
    (panel,) = [axes for axes in figure.axes if axes.get_title(loc="left") == "Online linear probe, IR"]
    assert [np.asarray(line.get_xydata()).tolist() for line in panel.lines] == [[[1.0, 31.0], [2.0, 32.0]]]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_redrawn_it_is_the_same_to_the_byte(make_study: MakeStudy, tmp_path: Path, suffix: str) -> None:
    study = make_study(methods=("dino+clever",), seeds=1)
    paths = [tmp_path / f"{name}{suffix}" for name in ("first", "second")]
    for path in paths:
        figure_loss_terms.main(["--curves", str(study.curves_path), "--output", str(path)])
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_curves_without_any_known_metric_are_refused(make_study: MakeStudy) -> None:
    study = make_study()
    study.curves.assign(metric="mystery").to_csv(study.curves_path, index=False)
    with pytest.raises(UserError, match="none of the metrics"):
        figure_loss_terms.main(["--curves", str(study.curves_path), "--output", str(study.folder / "figure.png")])
