"""Pooling and verdicts against SciPy's t-tests and numbers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from differences import Difference
from pooled_differences import (
    LOWER,
    NOT_MEASURED,
    ONE_SEED,
    SUPPORTED,
    UNDECIDED,
    WITHIN,
    Comparison,
    format_difference,
    holm,
    judge,
    over_seeds,
    pool,
)
from scipy import stats


def comparison(backbone: str, by_seed: dict[int, float]) -> Comparison:
    return Comparison("digits", backbone, "baug", "dino+clever − dino", by_seed)


def test_the_interval_equals_a_t_test_on_the_seeds_means() -> None:
    drawn = np.random.default_rng(1).normal(0.4, 1.0, (6, 4))
    pooled = pool([comparison(str(row), dict(enumerate(values))) for row, values in enumerate(drawn)])
    test = stats.ttest_1samp(drawn.mean(axis=0), 0.0)
    expected = test.confidence_interval(0.95)
    assert pooled.difference is not None
    assert (pooled.difference.low, pooled.difference.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert pooled.difference.mean == pytest.approx(drawn.mean())
    assert pooled.p_value == pytest.approx(test.pvalue, rel=1e-9)


def test_every_seed_is_a_mean_over_the_same_comparisons() -> None:
    """Seed 2 is in only one of four comparisons and is left out; then the comparison without seed 1 is left out."""
    whole = [comparison(name, {0: 1.0, 1: 3.0}) for name in "ab"]
    longer, shorter = comparison("c", {0: 4.0, 1: 6.0, 2: 99.0}), comparison("d", {0: 50.0})
    pooled = pool([*whole, longer, shorter])
    assert pooled.by_seed == {0: 2.0, 1: 4.0}
    assert pooled.seeds_left_out == (2,)
    assert pooled.left_out == (shorter,)


def test_without_comparisons_there_is_no_difference() -> None:
    assert pool([]).difference is None
    assert over_seeds({}) is None
    assert math.isnan(pool([]).p_value)


@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.5, 0.0)])
def test_seeds_without_spread(value: float, p: float) -> None:
    pooled = pool([comparison("a", {0: value, 1: value})])
    assert pooled.p_value == p
    assert pooled.difference == Difference(value, value, value, 2)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 3.0, SUPPORTED),
        (0.1, 0.3, SUPPORTED),
        (-3.0, -0.1, LOWER),
        (-0.3, -0.1, LOWER),
        (-0.4, 0.4, WITHIN),
        (-0.4, 0.6, UNDECIDED),
        (-0.6, 0.4, UNDECIDED),
        (-5.0, 5.0, UNDECIDED),
    ],
)
def test_the_verdict_rule(low: float, high: float, verdict: str) -> None:
    assert judge(Difference((low + high) / 2, low, high, 3), margin=0.5) == verdict


def test_without_an_interval_there_is_no_verdict() -> None:
    assert judge(over_seeds({0: 9.0}), margin=0.5) == ONE_SEED
    assert judge(None, margin=0.5) == NOT_MEASURED


def test_holm_by_hand() -> None:
    """The smallest p is multiplied by 4, the next by 3, and so on, but none falls below the previous one: .04, .06, .06
    (from .04 = .02 * 2), .5. NaN is not counted."""
    found = holm([0.02, 0.5, float("nan"), 0.01, 0.02])
    assert math.isnan(found[2])
    assert [found[0], found[1], found[3], found[4]] == pytest.approx([0.06, 0.5, 0.04, 0.06])


def test_differences_in_words() -> None:
    assert format_difference(Difference(1.0, 0.25, 1.75, 3), "points") == "+1.00 [+0.25, +1.75] *"
    assert format_difference(Difference(-0.0214, -0.1, 0.05, 3), "R²") == "-0.021 [-0.100, +0.050]"
    assert format_difference(over_seeds({0: -2.0}), "points") == "-2.00"
    assert format_difference(None, "points") == "–"
