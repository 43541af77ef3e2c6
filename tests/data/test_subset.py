from __future__ import annotations

from itertools import pairwise

import numpy as np

from clever.data.subset import balanced_subset

LABELS = np.repeat(np.arange(4), [50, 30, 3, 17])[np.random.default_rng(0).permutation(100)]


def test_classes_share_the_limit_until_one_runs_out() -> None:
    assert np.bincount(LABELS[balanced_subset(LABELS, 12, 0, "train")]).tolist() == [3, 3, 3, 3]
    assert np.bincount(LABELS[balanced_subset(LABELS, 33, 0, "train")]).tolist() == [10, 10, 3, 10]


def test_a_larger_limit_keeps_what_a_smaller_one_keeps() -> None:
    kept = [set(balanced_subset(LABELS, limit, 3, "train").tolist()) for limit in range(4, 100, 7)]
    assert all(small < large for small, large in pairwise(kept))


def test_choice_depends_on_seed_and_split_and_keeps_the_order() -> None:
    first = balanced_subset(LABELS, 20, 0, "train")
    assert first.tolist() == sorted(first.tolist())
    assert np.array_equal(first, balanced_subset(LABELS, 20, 0, "train"))
    assert not np.array_equal(first, balanced_subset(LABELS, 20, 1, "train"))
    assert not np.array_equal(first, balanced_subset(LABELS, 20, 0, "test"))


def test_a_limit_beyond_the_images_keeps_all() -> None:
    assert balanced_subset(LABELS, 1000, 0, "train").tolist() == list(range(100))
    assert balanced_subset(LABELS, None, 0, "train").tolist() == list(range(100))
