"""The labelled share of a semi-supervised evaluation: sizes, strata, nesting, lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clever.errors import UserError
from clever.evaluation.file_list import read_list
from clever.evaluation.labelled_subset import listed_subset, stratified_subset


def test_every_class_gives_its_share_and_at_least_one() -> None:
    labels = np.repeat(np.arange(4), [1000, 150, 49, 3]).astype(np.int64)
    np.random.default_rng(0).shuffle(labels)
    rows = stratified_subset(labels, 0.01, seed=0)
    assert np.bincount(labels[rows]).tolist() == [10, 2, 1, 1]
    assert len(set(rows.tolist())) == len(rows)
    assert rows.tolist() == sorted(rows.tolist())


def test_a_larger_share_keeps_the_smaller_one_and_seeds_differ() -> None:
    labels = np.tile(np.arange(5), 100).astype(np.int64)
    one, ten = stratified_subset(labels, 0.01, 3), stratified_subset(labels, 0.1, 3)
    assert set(one) <= set(ten)
    assert np.array_equal(ten, stratified_subset(labels, 0.1, 3))
    assert not np.array_equal(ten, stratified_subset(labels, 0.1, 4))
    assert np.array_equal(stratified_subset(labels, 1.0, 0), np.arange(500))
    # Every image has the same probability: over many seeds, all are drawn about equally often.
    drawn = np.zeros(500)
    for seed in range(200):
        drawn[stratified_subset(labels, 0.1, seed)] += 1
    assert drawn.min() > 4
    assert drawn.max() < 45


def test_a_share_must_be_between_0_and_1() -> None:
    for share in (0.0, -0.1, 1.5):
        with pytest.raises(UserError, match="labelled share"):
            stratified_subset(np.zeros(5, dtype=np.int64), share, 0)


def test_a_list_chooses_by_file_name_and_skips_missing_images(tmp_path: Path) -> None:
    names = ["n01/n01_1.JPEG", "n01/n01_2.JPEG", "n02/n02_7.jpeg", "n02/n02_9.JPEG"]
    path = tmp_path / "1percent.txt"
    path.write_text("n02_7.JPEG\nn01_2.JPEG\n\nn99_5.JPEG\n", encoding="utf-8")
    assert listed_subset(names, read_list(path), str(path)).tolist() == [1, 2]


def test_a_wrong_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"list\.txt: none of its 1 file names is among the 1 training images"):
        listed_subset(["a/x.png"], ["y.png"], "list.txt")
    with pytest.raises(UserError, match=r"x\.png matches 2 training images"):
        listed_subset(["a/x.png", "b/x.png"], ["x.png"], "list.txt")
    empty = tmp_path / "empty.txt"
    empty.write_text("\n", encoding="utf-8")
    with pytest.raises(UserError, match="holds no file name"):
        read_list(empty)
    with pytest.raises(UserError, match="cannot be read"):
        read_list(tmp_path / "absent.txt")
