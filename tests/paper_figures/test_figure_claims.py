"""The claims figure, read back from the axes."""

from __future__ import annotations

from pathlib import Path

import figure_claims
import numpy as np
import pytest
from claims import MARGIN_POINTS, MARGIN_R2, PublishedDifference, Statement
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from pooled_differences import ONE_SEED, SUPPORTED, Comparison
from scipy import stats
from style import INK, METHOD_MARKS, MUTED
from synthetic_study import MakeStudy
from verdicts import find

GAINS = {"dino+clever − dino": {0: 1.0, 1: 2.0, 2: 3.0}, "simsiam+clever − simsiam": {0: 3.0, 1: 2.5, 2: 3.5}}
SHOWN_ONLY = "simsiam+ddcl − simsiam"


def compared(pair: str, by_seed: dict[int, float], claimed: bool = True) -> Comparison:
    return Comparison("cifar10", "vit_micro", "caug", pair, by_seed, claimed=claimed)


def make_statements() -> list[Statement]:
    gains = tuple(compared(pair, by_seed) for pair, by_seed in GAINS.items())
    return [
        Statement("a", "a", "top-1 is higher", (*gains, compared(SHOWN_ONLY, {0: 9.0, 1: 9.0, 2: 9.0}, claimed=False))),
        Statement("b", "b", "top-1 is higher elsewhere", ()),
        Statement("f1", "f", "R² is higher", (compared("dino+clever: EF − IR_cut", {0: 0.1}),), "R²"),
    ]


def make_figure() -> Figure:
    published = [
        PublishedDifference(compared("dino+clever − dino", {0: 4.0}), 4.0, 200.0, "somebody", "printed"),
        PublishedDifference(compared(SHOWN_ONLY, {0: 7.0}, claimed=False), 7.0, 200.0, "somebody", "printed"),
    ]
    return figure_claims.draw(find(make_statements(), []), {"a": published}, "made_up")


def places(axes: Axes, colour: str, marker: str) -> list[tuple[float, float]]:
    """The positions of single marks of one kind."""
    return [
        (float(np.asarray(line.get_xdata())[0]), float(np.asarray(line.get_ydata())[0]))
        for line in axes.lines
        if to_hex(str(line.get_color())) == colour.lower() and line.get_marker() == marker
    ]


def test_each_row_shows_mean_interval_comparisons_and_published_values() -> None:
    points, r2 = make_figure().axes
    seeds = np.mean([list(by_seed.values()) for by_seed in GAINS.values()], axis=0)
    interval = stats.ttest_1samp(seeds, 0.0).confidence_interval(0.95)
    assert places(points, INK, "o") == [(pytest.approx(seeds.mean()), 0.0)]
    [bars] = [found for found in points.collections if isinstance(found, LineCollection)]
    np.testing.assert_allclose(bars.get_segments()[0][:, 0], [interval.low, interval.high])
    for pair, by_seed in GAINS.items():
        look = METHOD_MARKS[pair.split(" ")[0]]
        assert places(points, look.colour, look.marker) == [(np.mean(list(by_seed.values())), 0.2)]
    assert places(points, METHOD_MARKS["simsiam+ddcl"].colour, METHOD_MARKS["simsiam+ddcl"].marker) == []
    assert places(points, MUTED, "d") == [(4.0, -0.2)]
    # One seed gives a mean but no interval.
    assert places(r2, INK, "o") == [(pytest.approx(0.1), 0.0)]
    assert not [found for found in r2.collections if isinstance(found, LineCollection)]


def test_each_row_shows_its_statement_and_verdict() -> None:
    points, r2 = make_figure().axes
    assert [label.get_text() for label in points.get_yticklabels()] == ["a: top-1 is higher"]
    assert [text.get_text() for text in points.texts] == [SUPPORTED]
    assert [text.get_text() for text in r2.texts] == [ONE_SEED]


def test_statements_that_were_not_measured_have_no_row() -> None:
    figure = make_figure()
    assert figure.axes[0].get_title(loc="left") == "Not measured by this study: b"


@pytest.mark.parametrize(("place", "margin"), [(0, MARGIN_POINTS), (1, MARGIN_R2)])
def test_the_margin_depends_on_the_unit(place: int, margin: float) -> None:
    [band] = make_figure().axes[place].patches
    box = band.get_path().get_extents(band.get_patch_transform())
    assert (box.x0, box.x1) == pytest.approx((-margin, margin))


def test_the_script_draws_the_same_bytes_twice(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study(backbones=("resnet10t", "vit_tiny"), seeds=3)
    outputs = [tmp_path / "one.pdf", tmp_path / "one.png", tmp_path / "two.pdf", tmp_path / "two.png"]
    given = ["--records", str(study.records_path), "--runs", str(study.runs_path), "--study", "made_up"]
    for pair in (outputs[:2], outputs[2:]):
        figure_claims.main([*given, "--output", *map(str, pair)])
    assert [path.stat().st_size > 5000 for path in outputs] == [True] * 4
    assert outputs[0].read_bytes() == outputs[2].read_bytes()
    assert outputs[1].read_bytes() == outputs[3].read_bytes()


def test_without_measurements_the_figure_is_empty() -> None:
    figure = figure_claims.draw(find([Statement("a", "a", "top-1 is higher", ())], []), {}, "made_up")
    [axes] = figure.axes
    assert places(axes, INK, "o") == []
    assert not axes.axison


def test_many_methods_share_one_mark() -> None:
    """Otherwise, the legend would be longer than the figure."""
    gains = tuple(compared(f"method{number}+clever − method{number}", {0: float(number)}) for number in range(30))
    figure = figure_claims.draw(find([Statement("a", "a", "top-1 is higher", gains)], []), {}, "made_up")
    [axes], [legend] = figure.axes, figure.legends
    drawn = places(axes, figure_claims.ANY_METHOD.colour, figure_claims.ANY_METHOD.marker)
    assert drawn == [(float(number), 0.2) for number in range(30)]
    assert "each of 30 methods, one comparison" in [text.get_text() for text in legend.get_texts()]
    figure.draw_without_rendering()
    assert axes.get_window_extent().height > 0.2 * figure.bbox.height
