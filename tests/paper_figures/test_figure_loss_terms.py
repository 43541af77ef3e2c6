"""The figure of loss terms, read back from the axes."""

from __future__ import annotations

from pathlib import Path

import figure_loss_terms
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
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


def _titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]


def _curves(axes: Axes) -> list[list[float]]:
    """The heights of all lines except crosses and landmarks."""
    return [
        np.asarray(line.get_ydata(), dtype=float).tolist()
        for line in axes.lines
        if line.get_linestyle() != "None" and len(np.atleast_1d(line.get_xdata())) == 3
    ]


def test_every_metric_has_a_panel_with_one_mean_per_configuration(make_study: MakeStudy) -> None:
    study = make_study()
    figure = figure_loss_terms.draw(study.curves, {})
    shown = dict(zip(_titles(figure), [axes for axes in figure.axes if axes.get_visible()], strict=True))
    panels = figure_loss_terms.panels_of(study.curves)
    assert list(shown) == [panel.title for panel in panels]
    assert {panel.metric for panel in panels} == set(study.curves["metric"])
    for panel in panels:
        mine = study.curves[study.curves["metric"] == panel.metric]
        over_seeds = mine.groupby(["method", "augmentation", "epoch"])["value"]
        expected = [mean.tolist() for _, mean in over_seeds.mean().groupby(["method", "augmentation"])]
        np.testing.assert_allclose(sorted(_curves(shown[panel.title])), sorted(expected))
        bands = [area.get_paths()[0].vertices for area in shown[panel.title].collections]
        assert sorted(float(band[:, 1].max()) for band in bands) == sorted(
            float(values.max()) for _, values in mine.groupby(["method", "augmentation"])["value"]
        )
        assert shown[panel.title].get_ylabel() != ""


def test_one_seed_has_no_band(make_study: MakeStudy) -> None:
    figure = figure_loss_terms.draw(make_study(seeds=1).curves, {})
    assert not any(axes.collections for axes in figure.axes)
    assert figure.legends[0].get_title().get_text() == "Health: ok in every run"


def test_terms_of_any_add_on_are_drawn_by_name(make_study: MakeStudy) -> None:
    curves = make_study(methods=("simclr+essl",)).curves.replace({"metric": {"loss_head_norm": "loss_essl_rotation"}})
    assert "Essl rotation" in _titles(figure_loss_terms.draw(curves, {}))


def test_baselines_with_different_scales_have_separate_panels(make_study: MakeStudy) -> None:
    curves = make_study(methods=("dino", "dino+clever", "simsiam", "byol")).curves
    contrast = curves["metric"] == "loss_contrast"
    scale = curves["method"].map({"dino": 5.0, "dino+clever": 4.0, "simsiam": -0.8, "byol": 6.0})
    curves["value"] = curves["value"].where(~contrast, scale)
    figure = figure_loss_terms.draw(curves, {})
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert [title for title in panels if "Contrast" in title] == ["Contrast · byol, dino", "Contrast · simsiam"]
    assert {value for line in _curves(panels["Contrast · byol, dino"]) for value in line} == {4.0, 5.0, 6.0}
    assert {value for line in _curves(panels["Contrast · simsiam"]) for value in line} == {-0.8}


@pytest.mark.parametrize(
    ("values", "groups"),
    [
        ({"a": 1.0, "b": 3.9}, [{"a", "b"}]),
        ({"a": 1.0, "b": 4.1}, [{"a"}, {"b"}]),
        ({"a": -1.0, "b": 1.0}, [{"a"}, {"b"}]),
        ({"a": -1.0, "b": -3.0}, [{"a", "b"}]),
        ({"a": 1.0, "b": 0.0, "c": 0.0}, [{"a"}, {"b", "c"}]),
    ],
)
def test_scales(values: dict[str, float], groups: list[set[str]]) -> None:
    curves = pd.DataFrame({"method": list(values), "value": list(values.values())})
    assert figure_loss_terms.scale_groups(curves) == groups


def test_runs_of_an_axis_are_left_out(make_study: MakeStudy) -> None:
    curves = make_study(methods=("dino", "dino+clever", "dino+clever@separation_ratio=0.5")).curves
    labels = [text.get_text() for text in figure_loss_terms.draw(curves, {}).legends[0].get_texts()]
    assert labels == ["dino, baug", "dino+clever, baug", "dino, caug", "dino+clever, caug"]


def test_trouble_is_marked_at_the_reported_epoch(make_study: MakeStudy) -> None:
    sick = "digits/resnet10t/dino/caug/seed1"
    study = make_study(collapsed=[sick])
    first = study.curves[study.curves["run"] == sick].iloc[0]
    reported = pd.DataFrame([{**first, "metric": "health", "epoch": 1, "value": "teacher collapsed"}])
    pd.concat([study.curves, reported]).to_csv(study.curves_path, index=False)
    curves = read_curves(study.curves_path)
    trouble, silent = figure_loss_terms.find_trouble(curves, read_runs(study.runs_path))
    assert trouble == {sick: (1, "teacher collapsed")}
    assert silent == []
    figure = figure_loss_terms.draw(numeric_curves(curves, study.curves_path), trouble)
    chosen = study.curves[(study.curves["run"] == sick) & (study.curves["metric"] == "loss_contrast")]
    height = float(chosen.loc[chosen["epoch"] == 1, "value"].iloc[0])
    assert _crosses(figure.axes[0]) == [(1, height)]
    title = figure.legends[0].get_title().get_text()
    assert title.splitlines()[1:] == [f"Not healthy from epoch 1: {sick}: teacher collapsed"]


def test_without_an_epoch_the_last_point_is_marked(make_study: MakeStudy) -> None:
    sick = "digits/resnet10t/dino/caug/seed1"
    study = make_study(collapsed=[sick])
    trouble, _ = figure_loss_terms.find_trouble(read_curves(study.curves_path), read_runs(study.runs_path))
    assert trouble == {sick: (None, COLLAPSED)}
    figure = figure_loss_terms.draw(study.curves, trouble)
    assert [x for x, _ in _crosses(figure.axes[0])] == [2]


def test_unknown_health_is_not_shown_as_healthy(make_study: MakeStudy) -> None:
    study = make_study(methods=("dino",), seeds=1)
    curves = read_curves(study.curves_path)
    trouble, silent = figure_loss_terms.find_trouble(curves, [])
    assert (trouble, silent) == ({}, sorted({run["run"] for run in study.runs}))
    figure = figure_loss_terms.draw(study.curves, trouble, silent)
    assert figure.legends[0].get_title().get_text() == f"Health not recorded: {', '.join(silent)}"
    assert figure_loss_terms.find_trouble(curves, study.runs) == ({}, [])


def test_two_backbones_do_not_share_a_panel_and_titles_do_not_overlap(make_study: MakeStudy) -> None:
    study = make_study(backbones=("resnet10t", "resnet18"))
    figure = figure_loss_terms.draw(study.curves, {})
    contrast = [axes for axes in figure.axes if axes.get_title(loc="left").endswith("Contrast")]
    assert [axes.get_title(loc="left") for axes in contrast] == ["resnet10t\nContrast", "resnet18\nContrast"]
    for axes, backbone in zip(contrast, ("resnet10t", "resnet18"), strict=True):
        mine = study.curves[(study.curves["backbone"] == backbone) & (study.curves["metric"] == "loss_contrast")]
        means = mine.groupby(["method", "augmentation", "epoch"])["value"].mean()
        expected = [mean.tolist() for _, mean in means.groupby(["method", "augmentation"])]
        np.testing.assert_allclose(sorted(_curves(axes)), sorted(expected))
    figure.canvas.draw()
    boxes = [axes._left_title.get_window_extent() for axes in figure.axes if axes.get_visible()]  # type: ignore[attr-defined]
    assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])


def test_only_some_of_many_unhealthy_runs_are_named(make_study: MakeStudy) -> None:
    study = make_study(seeds=4)
    trouble = {str(run): (None, "collapsed") for run in study.curves["run"].unique()}
    title = figure_loss_terms.draw(study.curves, trouble).legends[0].get_title().get_text().splitlines()
    assert len(title) == 1 + figure_loss_terms.MOST_LINES + 1
    assert title[-1] == f"and {len(trouble) - figure_loss_terms.MOST_LINES} further runs that were not healthy"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_redrawing_gives_the_same_bytes(make_study: MakeStudy, tmp_path: Path, suffix: str) -> None:
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
