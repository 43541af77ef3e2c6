"""Colours are fixed and distinguishable; redrawing gives the same bytes."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest
import style
from matplotlib.colors import to_rgb

# Machado, Oliveira and Fernandes (2009), severity 1.0: linear RGB as perceived with protanopia and deuteranopia.
VISION = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
}


def _lab(linear: list[float]) -> list[float]:
    """CIE L*a*b* of linear sRGB under D65."""
    red, green, blue = (min(max(value, 0.0), 1.0) for value in linear)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    f = [value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x, y, z)]
    return [116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])]


def _seen(colour: str, vision: str) -> list[float]:
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in to_rgb(colour)]
    return _lab([sum(weight * value for weight, value in zip(row, linear, strict=True)) for row in VISION[vision]])


@pytest.mark.parametrize("vision", list(VISION))
def test_trained_methods_are_distinguishable(vision: str) -> None:
    """They differ in colour (a difference of 10 in L*a*b* is clearly visible) and always in their markers."""
    trained = {name: mark for name, mark in style.METHOD_MARKS.items() if mark.marker}
    assert len({mark.marker for mark in trained.values()}) == len(trained)
    names = sorted(trained)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            pairs = zip(_seen(trained[first].colour, vision), _seen(trained[second].colour, vision), strict=True)
            assert sum((a - b) ** 2 for a, b in pairs) ** 0.5 > 10, (first, second)


def test_a_method_s_style_does_not_depend_on_other_methods() -> None:
    few, many = style.marks(["dino"]), style.marks(["vicreg", "dino", "dino+clever", "byol"])
    assert few["dino"] == many["dino"] == style.METHOD_MARKS["dino"]
    assert many["vicreg"] != many["byol"]
    assert len(set(style.marks([f"method{index}" for index in range(30)]).values())) == 30


@pytest.mark.parametrize("suffix", style.SUFFIXES)
def test_saving_twice_gives_the_same_bytes_without_a_date(tmp_path: Path, suffix: str) -> None:
    contents = []
    for name in ("first", "second"):
        with style.house_style():
            figure = style.new_figure(3, 2)
            figure.subplots().plot([1, 2], [1, 2])
        style.save(figure, tmp_path / f"{name}{suffix}")
        contents.append((tmp_path / f"{name}{suffix}").read_bytes())
    assert contents[0] == contents[1]
    # matplotlib.axis_1 is the id of an SVG element.
    content = contents[0].replace(b"matplotlib.axis_", b"")
    for word in (b"CreationDate", b"dc:date", b"tIME", b"Matplotlib", b"matplotlib"):
        assert word not in content


def test_the_caller_s_settings_are_unchanged() -> None:
    before = dict(matplotlib.rcParams)
    with style.house_style():
        assert matplotlib.rcParams["axes.spines.top"] is False
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("width", [5.6, 9.2])
def test_a_legend_of_long_names_stays_inside_the_figure(width: float) -> None:
    labels = [f"simsiam+clever, caug_plus {index}" for index in range(9)]
    with style.house_style():
        figure = style.new_figure(width, 4)
        axes = figure.subplots()
        for label in labels:
            axes.plot([0, 1], label=label)
        legend = figure.legend(loc="outside lower left", ncols=style.legend_columns(labels, width))
        figure.draw_without_rendering()
        assert legend.get_window_extent().x1 <= figure.bbox.x1
