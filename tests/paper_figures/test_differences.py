"""Paired differences against SciPy's paired t-test and against numbers computed by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from differences import Difference, paired_difference
from scipy import stats


def values(*pairs: tuple[int, float]) -> pd.DataFrame:
    return pd.DataFrame(pairs, columns=["seed", "value"])


def test_the_interval_equals_the_paired_t_test() -> None:
    ours, reference = [61.0, 63.5, 60.2, 64.4, 62.0], [60.1, 61.0, 60.9, 62.2, 60.0]
    found = paired_difference(values(*enumerate(ours)), values(*enumerate(reference)))
    expected = stats.ttest_rel(ours, reference).confidence_interval(0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert found.mean == pytest.approx(sum(ours) / 5 - sum(reference) / 5)
    assert found.seeds == 5


def test_three_seeds_by_hand() -> None:
    """The differences 1, 2, 3 have mean 2 and standard deviation 1; Student's t with 2 degrees of freedom is 4.302653
    at 97.5 %."""
    found = paired_difference(values((2, 13.0), (0, 11.0), (1, 12.0)), values((0, 10.0), (1, 10.0), (2, 10.0)))
    assert found is not None
    reach = 4.302652729911275 / math.sqrt(3)
    assert (found.mean, found.low, found.high) == pytest.approx((2.0, 2.0 - reach, 2.0 + reach))
    assert found.verdict == "undecided"


def test_only_common_seeds_count() -> None:
    found = paired_difference(values((0, 5.0), (1, 7.0), (9, 100.0)), values((0, 4.0), (1, 4.0), (5, 0.0)))
    assert found is not None
    assert (found.mean, found.seeds) == (2.0, 2)
    assert paired_difference(values((0, 1.0)), values((1, 1.0))) is None


def test_one_seed_has_no_interval() -> None:
    found = paired_difference(values((0, 5.0)), values((0, 4.0)))
    assert found is not None
    assert found.mean == 1.0
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.verdict == "undecided"


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.1, 3.0, "higher"), (-3.0, -0.1, "lower"), (-0.1, 3.0, "undecided")]
)
def test_the_verdict_follows_the_interval(low: float, high: float, verdict: str) -> None:
    assert Difference((low + high) / 2, low, high, 3).verdict == verdict
