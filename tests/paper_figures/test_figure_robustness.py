"""The robustness figure, read back from the axes."""

from __future__ import annotations

from pathlib import Path

import figure_robustness
import numpy as np
import pandas as pd
import pytest
from arguments import PUBLISHED_FOLDER
from grids import read_numbers
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from published_values import read_published
from scipy import stats
from style import METHOD_MARKS, SUFFIXES
from synthetic_study import PERTURBATIONS, MakeStudy, Study

from clever.errors import UserError
from clever.results.records import read_records

CHOICE = {"protocol": "linear", "part": "ALL", "metric": "top1"}


def _draw(study: Study) -> Figure:
    numbers = read_numbers(read_records(study.records_path), read_published(PUBLISHED_FOLDER), [])
    return figure_robustness.draw(numbers, **CHOICE)


def _panels(figure: Figure) -> list[Axes]:
    """The panels of values; the panels of differences have no title."""
    return [axes for axes in figure.axes if axes.get_visible() and axes.get_title(loc="left")]


def _points(axes: Axes, method: str, hollow: bool = False) -> list[np.ndarray]:
    """The heights of a method's markers, one per perturbation."""
    return [
        np.asarray(line.get_ydata(), dtype=float)
        for line in axes.lines
        if to_hex(str(line.get_color())) == METHOD_MARKS[method].colour.lower()
        and line.get_marker() == METHOD_MARKS[method].marker
        and (line.get_markerfacecolor() == "white") is hollow
    ]


def _control(axes: Axes, key: str) -> list[float]:
    """The heights of a control, one short line per perturbation."""
    found = [line for line in axes.lines if to_hex(str(line.get_color())) == METHOD_MARKS[key].colour]
    found = [line for line in found if len(np.atleast_1d(line.get_xdata())) == 2 and line.get_linestyle() == "--"]
    assert all(len(set(np.asarray(line.get_ydata()))) == 1 for line in found)
    return [float(np.asarray(line.get_ydata())[0]) for line in found]


def _values(study: Study, backbone: str, method: str, augmentation: str) -> pd.DataFrame:
    """Seeds in rows, perturbations in columns."""
    frame = study.records[(study.records["selection"] == "last") & (study.records["part"] == "ALL")]
    for column, value in (("backbone", backbone), ("method", method), ("augmentation", augmentation)):
        frame = frame[frame[column] == value]
    return frame.pivot(index="seed", columns="perturbation", values="value")[list(PERTURBATIONS)]


def test_each_panel_shows_its_means_and_both_controls(make_study: MakeStudy) -> None:
    study = make_study(backbones=("resnet10t", "vit_tiny"))
    figure = _draw(study)
    panels = _panels(figure)
    assert {axes.get_title(loc="left") for axes in panels} == {
        *("resnet10t · baug", "resnet10t · caug"),
        *("vit_tiny · baug", "vit_tiny · caug"),
    }
    for axes in panels:
        backbone, augmentation = axes.get_title(loc="left").split(" · ")
        for method in ("dino", "dino+clever"):
            (points,) = _points(axes, method)
            np.testing.assert_allclose(points, _values(study, backbone, method, augmentation).mean())
        np.testing.assert_allclose(_control(axes, "untrained"), _values(study, backbone, "untrained", "none").mean())
        np.testing.assert_allclose(_control(axes, "pixels"), _values(study, "pixels", "untrained", "none").mean())
    lowest = [axes for axes in figure.axes if axes.xaxis.get_tick_params()["labelbottom"]]
    assert len(lowest) == 2
    for axes in lowest:
        assert [label.get_text() for label in axes.get_xticklabels()] == list(PERTURBATIONS)


def test_differences_to_the_baseline_are_below_the_values(make_study: MakeStudy) -> None:
    study = make_study(seeds=3)
    figure = _draw(study)
    below = [axes for axes in figure.axes if axes not in _panels(figure)]
    assert len(below) == 2
    for axes, augmentation in zip(below, ("baug", "caug"), strict=True):
        gains = _values(study, "resnet10t", "dino+clever", augmentation) - _values(
            study, "resnet10t", "dino", augmentation
        )
        (points,) = _points(axes, "dino+clever")
        np.testing.assert_allclose(points, gains.mean())
        assert _points(axes, "dino") == []
        (bars,) = [container for container in axes.containers if isinstance(container, ErrorbarContainer)]
        ends = np.array([segment[:, 1] for segment in bars.lines[2][0].get_segments()])
        reach = stats.t.ppf(0.975, 2) * gains.std(ddof=1) / np.sqrt(3)
        np.testing.assert_allclose(ends, np.stack([gains.mean() - reach, gains.mean() + reach], axis=1))


def test_no_line_connects_perturbations(make_study: MakeStudy) -> None:
    for axes in _draw(make_study()).axes:
        for line in axes.lines:
            assert line.get_linestyle() == "None" or len(set(np.asarray(line.get_ydata()))) == 1


def test_a_combination_that_was_not_trained_has_no_panel(make_study: MakeStudy) -> None:
    study = make_study(backbones=("resnet10t", "vit_tiny"))
    records = study.records[(study.records["backbone"] != "vit_tiny") | (study.records["augmentation"] != "baug")]
    records.to_csv(study.records_path, index=False)
    figure = _draw(study)
    assert {axes.get_title(loc="left") for axes in _panels(figure)} == {
        *("resnet10t · baug", "resnet10t · caug", "vit_tiny · caug"),
    }
    assert all(axes.lines for axes in figure.axes if axes.get_visible())


def test_without_a_baseline_there_are_no_differences(make_study: MakeStudy) -> None:
    figure = _draw(make_study(methods=("dino+clever",)))
    assert len(figure.axes) == 2


def test_runs_of_an_axis_are_left_to_separate_figures(make_study: MakeStudy) -> None:
    figure = _draw(make_study(methods=("dino", "dino+clever", "dino+clever@separation_ratio=0.5")))
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["dino", "dino+clever"]
    assert not any("@" in text.get_text() for text in figure.legends[0].get_texts())


def test_published_values_are_drawn_on_their_own_data_only(make_study: MakeStudy) -> None:
    figure = _draw(make_study(data="imagenet100", backbones=("vit_tiny",)))
    (points,) = _points(_panels(figure)[1], "dino+clever", hollow=True)
    # There is a gap if the sources print nothing.
    np.testing.assert_array_equal(points, [68.7, np.nan, np.nan, 66.0, np.nan])
    assert "published (hollow)" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_nothing_published_is_drawn_for_other_data(make_study: MakeStudy) -> None:
    figure = _draw(make_study(data="digits", backbones=("vit_tiny",)))
    for axes in figure.axes:
        assert _points(axes, "dino", hollow=True) == []
    assert (
        figure.legends[0]
        .get_title()
        .get_text()
        .endswith("Published values on digits: not published in the sources we have")
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_redrawing_gives_the_same_bytes(make_study: MakeStudy, tmp_path: Path, suffix: str) -> None:
    study = make_study()
    paths = [tmp_path / f"{name}{suffix}" for name in ("first", "second")]
    for path in paths:
        figure_robustness.main(["--records", str(study.records_path), "--output", str(path)])
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_controls_alone_still_make_a_figure(make_study: MakeStudy) -> None:
    figure = _draw(make_study(methods=()))
    assert len(_control(figure.axes[0], "untrained")) == len(PERTURBATIONS)


def test_records_of_another_protocol_give_one_line(make_study: MakeStudy) -> None:
    study = make_study()
    study.records.assign(protocol="knn20").to_csv(study.records_path, index=False)
    with pytest.raises(UserError, match="no record of protocol, part, metric = linear ALL top1"):
        _draw(study)
