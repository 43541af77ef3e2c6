"""J and F: hand-made masks, davis2017's rules, and vos-benchmark as an independent implementation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from clever.errors import UserError
from clever.evaluation.video.scores import (
    ObjectScore,
    boundary,
    boundary_accuracy,
    region_similarity,
    score_sequence,
    summary,
)


def square(top: int = 150, left: int = 300, side: int = 100, shape: tuple[int, int] = (480, 854)) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_a_shift_within_the_tolerance_keeps_f_and_one_beyond_does_not() -> None:
    """480p: the tolerance is ceil(.008 * 979.7) = 8 px."""
    for shift in (0, 1, 8):
        assert boundary_accuracy(square(), square(left=300 + shift)) == 1.0
    assert boundary_accuracy(square(), square(left=309)) < 1.0
    assert region_similarity(square(), square(left=301)) == pytest.approx(99 / 101)


def test_empty_masks_as_defined() -> None:
    nothing = np.zeros((480, 854), dtype=bool)
    assert (region_similarity(nothing, nothing), boundary_accuracy(nothing, nothing)) == (1.0, 1.0)
    for pair in ((nothing, square()), (square(), nothing)):
        assert (region_similarity(*pair), boundary_accuracy(*pair)) == (0.0, 0.0)


def test_a_boundary_is_one_pixel_wide() -> None:
    mask = np.zeros((5, 6), dtype=bool)
    mask[2:4, 2:4] = True
    assert boundary(mask).astype(int).tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 1, 0, 1, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]
    # In the last row only the right neighbour counts, in the last column only the lower one, and in the corner none.
    corner = np.zeros((3, 3), dtype=bool)
    corner[1:, 1:] = True
    assert boundary(corner).astype(int).tolist() == [[1, 1, 1], [1, 0, 0], [1, 0, 0]]


def moving(frames: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Two moving objects; the second one leaves the picture for a while."""
    draw = np.random.default_rng(seed)
    maps = []
    for frame in range(frames):
        objects = np.zeros((120, 160), dtype=np.uint8)
        top, left = draw.integers(0, 60, 2)
        objects[top : top + 40, left : left + 50] = 1
        if frame != 3:  # not in the first scored frame: vos-benchmark counts an object from its first appearance
            top, left = draw.integers(40, 80, 2)
            objects[top : top + 30, left : left + 20 + frame] = 2
        maps.append(objects)
    return maps


def test_scores_equal_vos_benchmark() -> None:
    evaluator = pytest.importorskip("vos_benchmark.evaluator", exc_type=ImportError)
    truths, predictions = moving(7), moving(7, seed=1)
    predictions[0] = truths[0]
    reference = evaluator.Evaluator()
    for prediction, truth in list(zip(predictions, truths, strict=True))[1:-1]:
        reference.feed_frame(prediction, truth)
    regions, boundaries = reference.conclude()
    ours = score_sequence("toy", predictions, truths)
    assert [score.object for score in ours] == [1, 2]
    for score in ours:
        assert 100 * np.mean(score.region) == pytest.approx(regions[score.object])
        assert 100 * np.mean(score.boundary) == pytest.approx(boundaries[score.object])


def test_the_ground_truth_scores_100_and_an_empty_prediction_0() -> None:
    truths = moving(6)
    measured = summary(score_sequence("toy", truths, truths))
    assert {name: measured[name] for name in ("j_and_f", "j_mean", "f_mean", "j_recall")} == {
        "j_and_f": 100.0,
        "j_mean": 100.0,
        "f_mean": 100.0,
        "j_recall": 100.0,
    }
    assert measured["j_decay"] == 0.0
    empty = [truths[0], *(np.zeros_like(truth) for truth in truths[1:])]
    first = score_sequence("toy", empty, truths)[0]
    assert set(first.region) == {0.0}
    assert set(first.boundary) == {0.0}


def test_first_and_last_frames_are_ignored_and_objects_have_equal_weight() -> None:
    truths = moving(4)
    predictions = [np.zeros_like(truths[0]), truths[1], truths[2], np.zeros_like(truths[0])]
    assert summary(score_sequence("toy", predictions, truths))["j_and_f"] == 100.0
    three = [
        ObjectScore("a", 1, (1.0,), (1.0,)),
        ObjectScore("a", 2, (1.0,), (1.0,)),
        ObjectScore("b", 1, (0.4,), (0.0,)),
    ]
    measured = summary(three)
    assert measured["j_mean"] == pytest.approx(80.0)
    assert measured["j_recall"] == pytest.approx(200 / 3)
    assert measured["j_and_f"] == pytest.approx((80.0 + 200 / 3) / 2)


def test_decay_is_the_first_quarter_minus_the_last() -> None:
    values = tuple(np.linspace(1.0, 0.0, 9))
    [score] = [ObjectScore("a", 1, values, values)]
    # The quarters of 9 frames have the edges 0, 2, 4, 6, 8, both ends inclusive.
    assert summary([score])["j_decay"] == pytest.approx(100 * (np.mean(values[:3]) - np.mean(values[6:])))
    long_ = tuple(np.linspace(1.0, 0.0, 401))
    assert summary([ObjectScore("a", 1, long_, long_)])["j_decay"] == pytest.approx(75.0)


def test_too_few_frames_and_too_many_objects() -> None:
    truths = moving(4)
    with pytest.raises(UserError, match="toy: has 2 frames"):
        score_sequence("toy", truths[:2], truths[:2])
    wrong = [truth.copy() for truth in truths]
    wrong[1][0, 0] = 3
    with pytest.raises(ValueError, match="more objects are predicted than the 2"):
        score_sequence("toy", wrong, truths)
