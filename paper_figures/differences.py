"""Paired differences over seeds between two methods that were run with the same seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """Mean of the differences, method minus reference, over the seeds that both have.

    ``low`` and ``high`` bound the 95 % confidence interval of Student's t; NaN for a single seed. With three seeds the
    interval is 4.3 standard errors to either side: it excludes 0 only if all seeds agree closely.
    """

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def verdict(self) -> str:
        """``higher`` or ``lower`` if the interval excludes 0, else ``undecided``."""
        if self.low > 0:
            return "higher"
        return "lower" if self.high < 0 else "undecided"


def paired_difference(method: pd.DataFrame, reference: pd.DataFrame) -> Difference | None:
    """The difference of two groups of records with the columns ``seed`` and ``value``, one row per seed.

    None if they share no seed.
    """
    pairs = method.merge(reference, on="seed", suffixes=("", "_reference"), validate="one_to_one")
    if pairs.empty:
        return None
    differences = (pairs["value"] - pairs["value_reference"]).to_numpy(dtype=np.float64)
    count, mean = len(differences), float(differences.mean())
    if count == 1:
        return Difference(mean, float("nan"), float("nan"), 1)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * differences.std(ddof=1) / np.sqrt(count))
    return Difference(mean, mean - reach, mean + reach, count)
