from __future__ import annotations

from itertools import pairwise

import numpy as np

from clever.data.subset import balanced_subset, whole_groups

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


def test_whole_groups_stay_together_and_nested() -> None:
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat(np.arange(30), rng.integers(1, 6, 30)))
    labels = groups % 3
    before: set[int] = set()
    for limit in range(15, len(groups) + 1, 7):
        rows, least = whole_groups(labels, groups, limit, 0, "train")
        assert (np.diff(rows) > 0).all()
        assert len(rows) <= limit
        kept = set(groups[rows].tolist())
        assert np.isin(groups, list(kept)).sum() == len(rows)
        assert before <= kept
        before = kept
        per_class = np.bincount([group % 3 for group in kept], minlength=3)
        assert per_class.max() - per_class.min() <= 1  # in turn
        assert (per_class.min() > 0) == (limit >= least)
    assert len(whole_groups(labels, groups, None, 0, "train")[0]) == len(groups)
    assert len(whole_groups(labels, groups, least - 1, 0, "train")[0]) < least
    other = whole_groups(labels, groups, 40, 1, "train")[0]
    assert set(groups[other]) != set(groups[whole_groups(labels, groups, 40, 0, "train")[0]])
