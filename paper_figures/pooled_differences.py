"""Pools paired differences, and judges whether they support a statement.

Every comparison (a backbone, an augmentation, a pair of methods) gives one difference per seed. They are pooled within
each seed, and the confidence interval is Student's t over the seed means: the comparisons of a study share data, seeds
and code, so only the seeds count as repetitions. The inference holds for the study's backbones, augmentations and data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from differences import Difference, paired_difference
from scipy import stats

SUPPORTED = "supported"
LOWER = "not supported: lower"
WITHIN = "not supported: within the margin"
UNDECIDED = "undecided"
ONE_SEED = "undecided: one seed"
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Comparison:
    """One difference per seed, and its labels. ``claimed`` is false if it is shown but not pooled for a verdict."""

    data: str
    backbone: str
    augmentation: str
    pair: str
    by_seed: Mapping[int, float]
    runs: frozenset[str] = field(default_factory=frozenset)
    claimed: bool = True

    @property
    def method(self) -> str:
        """The method in question: ``dino+clever`` in ``dino+clever − dino`` and in ``dino+clever: ALL − IR``."""
        return self.pair.split(" ")[0].rstrip(":")

    @property
    def labels(self) -> tuple[str, str, str, str]:
        """Data, backbone, augmentation and pair, which identify the comparison."""
        return self.data, self.backbone, self.augmentation, self.pair


@dataclass(frozen=True)
class Pooled:
    """The mean of each seed over ``comparisons``, all of which have every seed of ``by_seed``.

    ``left_out`` are comparisons that lack one of these seeds, ``seeds_left_out`` seeds that most comparisons lack.
    """

    by_seed: Mapping[int, float]
    comparisons: tuple[Comparison, ...]
    left_out: tuple[Comparison, ...]
    seeds_left_out: tuple[int, ...]

    @property
    def difference(self) -> Difference | None:
        """Mean and interval over seeds; None if nothing was measured."""
        return over_seeds(self.by_seed)

    @property
    def p_value(self) -> float:
        """Two-sided p-value of the t-test for no difference, on the seed means; NaN for fewer than two seeds."""
        values = np.array(list(self.by_seed.values()), dtype=np.float64)
        if len(values) < 2:
            return float("nan")
        if np.ptp(values) == 0:  # No spread: t is infinite, or 0/0.
            return 0.0 if values[0] else 1.0
        return float(stats.ttest_1samp(values, 0.0).pvalue)


def over_seeds(by_seed: Mapping[int, float]) -> Difference | None:
    """Mean and confidence interval of differences that are already computed, one per seed."""
    if not by_seed:
        return None
    frame = pd.DataFrame({"seed": list(by_seed), "value": list(by_seed.values())})
    return paired_difference(frame, frame.assign(value=0.0))


def pool(comparisons: Sequence[Comparison]) -> Pooled:
    """The mean over comparisons in each seed, with the same comparisons in every seed.

    A seed is left out if fewer than half of the comparisons have it; then every comparison that lacks one of the
    remaining seeds is left out. Otherwise, seeds could differ merely because they contain different comparisons.
    """
    counts = Counter(seed for comparison in comparisons for seed in comparison.by_seed)
    seeds = sorted(seed for seed, count in counts.items() if 2 * count >= len(comparisons))
    kept = tuple(comparison for comparison in comparisons if set(seeds) <= set(comparison.by_seed))
    return Pooled(
        by_seed={seed: float(np.mean([one.by_seed[seed] for one in kept])) for seed in seeds} if kept else {},
        comparisons=kept,
        left_out=tuple(comparison for comparison in comparisons if comparison not in kept),
        seeds_left_out=tuple(sorted(set(counts) - set(seeds))),
    )


def judge(difference: Difference | None, margin: float) -> str:
    """The verdict on "the difference is above 0".

    Supported: the interval is above 0. Not supported: it is below 0, or entirely between -margin and +margin, which
    excludes a difference of the claimed size. Undecided: neither, or there is only one seed and so no interval.
    """
    if difference is None:
        return NOT_MEASURED
    if difference.seeds == 1:
        return ONE_SEED
    if difference.low > 0:
        return SUPPORTED
    if difference.high < 0:
        return LOWER
    return WITHIN if -margin < difference.low and difference.high < margin else UNDECIDED


def format_difference(difference: Difference | None, unit: str) -> str:
    """``+1.20 [+0.31, +2.09]``, with an asterisk if the interval excludes 0; one seed has no interval."""
    if difference is None:
        return "–"
    decimals = 2 if unit == "points" else 3
    mean, low, high = (f"{value:+.{decimals}f}" for value in (difference.mean, difference.low, difference.high))
    if np.isnan(difference.low):
        return mean
    return f"{mean} [{low}, {high}]" + ("" if difference.verdict == "undecided" else " *")


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction for the number of tests, in the order given; a NaN is not counted as a test and stays NaN."""
    tests = sorted((value, place) for place, value in enumerate(p_values) if not np.isnan(value))
    corrected = [float("nan")] * len(p_values)
    largest = 0.0
    for rank, (value, place) in enumerate(tests):
        largest = max(largest, min(1.0, value * (len(tests) - rank)))
        corrected[place] = largest
    return corrected
