"""The robustness figure, read back from the axes."""

from __future__ import annotations

from pathlib import Path

import figure_robustness
import numpy as np
import pytest
from arguments import PUBLISHED_FOLDER
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from published_values import read_published
from style import METHOD_MARKS, SUFFIXES
from summary import published_cells, summarise
from synthetic_study import PERTURBATIONS, MakeStudy, Study

from clever.results.records import read_records

CHOICE = {"protocol": "linear", "part": "ALL", "metric": "top1"}


def _draw(study: Study) -> Figure:
    published = published_cells(read_published(PUBLISHED_FOLDER), **CHOICE)
    return figure_robustness.draw(summarise(read_records(study.records_path), **CHOICE), published, **CHOICE)


def _lines(axes: Axes, colour: str, hollow: bool = False) -> list[np.ndarray]:
    return [
        np.asarray(line.get_ydata(), dtype=float)
        for line in axes.lines
        if to_hex(str(line.get_color())) == colour.lower()
        and len(np.atleast_1d(line.get_xdata())) == len(PERTURBATIONS)
        and line.get_linestyle() != "None"
        and (line.get_markerfacecolor() == "white") is hollow
    ]


def _means(study: Study, backbone: str, method: str, augmentation: str) -> list[float]:
    frame = study.records[(study.records["selection"] == "last") & (study.records["part"] == "ALL")]
    keys = ["backbone", "method", "augmentation", "perturbation"]
    means = frame.groupby(keys)["value"].mean()
    return [float(means[backbone, method, augmentation, name]) for name in PERTURBATIONS]


def test_each_panel_holds_its_means_and_both_controls(make_study: MakeStudy) -> None:
    study = make_study(backbones=("resnet10t", "vit_tiny"))
    figure = _draw(study)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        *("resnet10t · baug", "resnet10t · caug"),
        *("vit_tiny · baug", "vit_tiny · caug"),
    ]
    for axes in figure.axes:
        backbone, augmentation = axes.get_title(loc="left").split(" · ")
        for method in ("dino", "dino+clever"):
            (line,) = _lines(axes, METHOD_MARKS[method].colour)
            np.testing.assert_allclose(line, _means(study, backbone, method, augmentation))
        (untrained,) = _lines(axes, METHOD_MARKS["untrained"].colour)
        np.testing.assert_allclose(untrained, _means(study, backbone, "untrained", "none"))
        (pixels,) = _lines(axes, METHOD_MARKS["pixels"].colour)
        np.testing.assert_allclose(pixels, _means(study, "pixels", "untrained", "none"))
    for axes in figure.axes[2:]:
        assert [label.get_text() for label in axes.get_xticklabels()] == list(PERTURBATIONS)


def test_published_values_are_drawn_on_their_own_data_only(make_study: MakeStudy) -> None:
    figure = _draw(make_study(data="imagenet100", backbones=("vit_tiny",)))
    (line,) = _lines(figure.axes[1], METHOD_MARKS["dino+clever"].colour, hollow=True)
    # A gap where the sources print nothing.
    np.testing.assert_array_equal(line, [68.7, np.nan, np.nan, 66.0, np.nan])
    assert "published (hollow)" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_nothing_published_is_drawn_for_other_data(make_study: MakeStudy) -> None:
    figure = _draw(make_study(data="digits", backbones=("vit_tiny",)))
    for axes in figure.axes:
        for line in _lines(axes, METHOD_MARKS["dino"].colour, hollow=True):
            assert np.isnan(line).all()
    assert figure.legends[0].get_title().get_text() == (
        "Published values on digits: not published in the sources we have"
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_redrawn_it_is_the_same_to_the_byte(make_study: MakeStudy, tmp_path: Path, suffix: str) -> None:
    study = make_study()
    paths = [tmp_path / f"{name}{suffix}" for name in ("first", "second")]
    for path in paths:
        figure_robustness.main(["--records", str(study.records_path), "--output", str(path)])
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_controls_alone_still_make_a_figure(make_study: MakeStudy) -> None:
    figure = _draw(make_study(methods=()))
    assert len(_lines(figure.axes[0], METHOD_MARKS["untrained"].colour)) == 1
