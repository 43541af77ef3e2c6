"""Scores of masks: hand-made ones, a plain loop over thresholds, and pysodmetrics if it is installed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from clever.evaluation.saliency.scores import SaliencyScores, f_curve


def soft_and_truth(seed: int, levels: int | None = 255) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    draw = np.random.default_rng(seed)
    truth = np.zeros((20, 25), dtype=bool)
    truth[4:14, 6 : 12 + seed] = True
    soft = np.clip(0.3 + 0.4 * truth + 0.2 * draw.standard_normal(truth.shape), 0, 1)
    if levels:
        soft = np.round(soft * levels) / levels
        soft[0, 0], soft[-1, -1] = 0.0, 1.0
    return soft, truth


def test_half_an_object_by_hand() -> None:
    """Predicted: 50 of the object's 100 pixels and 50 others of 300: P = .5, R = .5, F = 1.3 * .25 / .65 = .5."""
    truth, prediction = np.zeros(400, dtype=bool), np.zeros(400, dtype=bool)
    truth[:100] = True
    prediction[50:150] = True
    scores = SaliencyScores()
    scores.add(prediction.reshape(20, 20), truth.reshape(20, 20))
    assert scores.summary() == pytest.approx({"max_f": 50.0, "iou": 100 * 50 / 150, "accuracy": 75.0})


def test_the_ground_truth_scores_100_and_empty_masks_score_as_defined() -> None:
    _, truth = soft_and_truth(0)
    scores = SaliencyScores()
    scores.add(truth, truth)
    assert scores.summary() == {"max_f": 100.0, "iou": 100.0, "accuracy": 100.0}
    nothing = SaliencyScores()
    nothing.add(np.zeros_like(truth), truth)
    assert nothing.summary() == pytest.approx({"max_f": 0.0, "iou": 0.0, "accuracy": 100 * float((~truth).mean())})
    both_empty = SaliencyScores()
    both_empty.add(np.zeros_like(truth), np.zeros_like(truth))
    assert both_empty.summary() == {"max_f": 100.0, "iou": 100.0, "accuracy": 100.0}


@pytest.mark.parametrize("seed", range(3))
def test_the_curve_equals_a_loop_over_thresholds(seed: int) -> None:
    soft, truth = soft_and_truth(seed, levels=None)
    expected = []
    for threshold in np.arange(255) / 255:
        hard = soft > threshold
        precision = (hard & truth).sum() / hard.sum() if hard.any() else 1.0
        recall = (hard & truth).sum() / truth.sum()
        below = 0.3 * precision + recall
        expected.append(1.3 * precision * recall / below if below else 0.0)
    np.testing.assert_allclose(f_curve(soft.ravel(), truth.ravel()), expected, rtol=1e-12)


def test_the_curve_is_averaged_before_its_maximum() -> None:
    """Two images, each perfect at only one threshold, but at different ones: the mean of their maxima would be 100."""
    truth = np.array([[True, False]])
    scores = SaliencyScores()
    scores.add(np.array([[0.3, 0.1]]), truth)
    scores.add(np.array([[0.9, 0.6]]), truth)
    assert scores.summary()["max_f"] < 90.0


def test_the_border_is_ignored() -> None:
    truth = np.array([[True, True, False, False]])
    prediction = np.array([[True, False, True, False]])
    scores = SaliencyScores()
    scores.add(prediction, truth, counted=np.array([[True, False, False, True]]))
    assert scores.summary() == {"max_f": 100.0, "iou": 100.0, "accuracy": 100.0}
    with pytest.raises(ValueError, match="no pixel counts"):
        scores.add(prediction, truth, counted=np.zeros((1, 4), dtype=bool))
    with pytest.raises(ValueError, match="a prediction of"):
        scores.add(prediction[:, :3], truth)


def test_the_f_curve_equals_pysodmetrics() -> None:
    metrics = pytest.importorskip("py_sod_metrics", reason="pysodmetrics needs an older numpy than the lock has")
    measure = metrics.FmeasureV2(
        metric_handlers={"fm": metrics.FmeasureHandler(beta=0.3, with_dynamic=True, with_adaptive=False)}
    )
    ours = SaliencyScores()
    for seed in range(3):
        soft, truth = soft_and_truth(seed)
        measure.step(pred=np.round(soft * 255).astype(np.uint8), gt=truth.astype(np.uint8) * 255)
        ours.add(soft, truth)
    # Theirs has one additional threshold, at which everything is foreground.
    curve = measure.get_results()["fm"]["dynamic"]
    assert ours.summary()["max_f"] == pytest.approx(100 * np.max(np.sort(curve)), abs=1e-6)
