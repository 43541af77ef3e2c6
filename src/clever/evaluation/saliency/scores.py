"""Scores of saliency masks: maximal F-measure, intersection over union, accuracy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BETA_SQUARED = 0.3
"""Weight of precision over recall in the F-measure of saliency detection."""
THRESHOLDS = np.arange(255) / 255
"""Thresholds at which the F-measure binarises a prediction ("greater than"): 0, 1/255 ... 254/255."""


class SaliencyScores:
    """Accumulates images and computes the scores of TokenCut's metric.py.

    Uncounted pixels (a trimap's border) are ignored. An image whose prediction and truth are both empty has an IoU of
    1.
    """

    def __init__(self) -> None:
        self._iou: list[float] = []
        self._accuracy: list[float] = []
        self._curve = np.zeros(len(THRESHOLDS))

    def __len__(self) -> int:
        return len(self._iou)

    def add(
        self,
        prediction: NDArray[np.floating] | NDArray[np.bool_],
        truth: NDArray[np.bool_],
        counted: NDArray[np.bool_] | None = None,
    ) -> None:
        """Score one image.

        Args:
            prediction: [H, W], bool or approximately in [0, 1]; for IoU and accuracy, values above 0.5 are foreground.
            truth: bool [H, W].
            counted: bool [H, W], the pixels that count; None: all.

        Raises:
            ValueError: the shapes differ, or no pixel counts.
        """
        if prediction.shape != truth.shape or (counted is not None and counted.shape != truth.shape):
            raise ValueError(f"a prediction of {prediction.shape} for a mask of {truth.shape}")
        soft = prediction.astype(np.float64).ravel()
        right = truth.ravel()
        if counted is not None:
            soft, right = soft[counted.ravel()], right[counted.ravel()]
        if not len(right):
            raise ValueError("no pixel counts")
        hard = soft > 0.5
        self._iou.append(intersection_over_union(hard, right))
        self._accuracy.append(float((hard == right).mean()))
        self._curve += f_curve(soft, right)

    def summary(self) -> dict[str, float]:
        """``max_f``, ``iou`` and ``accuracy`` in percent; the F curve is averaged over images before its maximum.

        Raises:
            ValueError: there are no images.
        """
        if not self._iou:
            raise ValueError("no image was scored")
        return {
            "max_f": 100.0 * float((self._curve / len(self)).max()),
            "iou": 100.0 * float(np.mean(self._iou)),
            "accuracy": 100.0 * float(np.mean(self._accuracy)),
        }


def intersection_over_union(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """IoU of two masks of the same shape, in [0, 1]; 1 if both are empty."""
    union = int((prediction | truth).sum())
    return int((prediction & truth).sum()) / union if union else 1.0


def f_curve(prediction: NDArray[np.float64], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """F-measure of one image's pixels [P] at each of the 255 thresholds: float64 [255].

    Precision is 1 if nothing is predicted, and recall is 1 if nothing is true; F is 0 if both are 0.
    """
    # The number of thresholds that a pixel exceeds; a pixel exceeds threshold k if it exceeds more than k thresholds.
    exceeded = np.searchsorted(THRESHOLDS, prediction, side="left")
    bins = len(THRESHOLDS) + 1
    predicted = np.bincount(exceeded, minlength=bins)[::-1].cumsum()[::-1][1:].astype(np.float64)
    hits = np.bincount(exceeded[truth], minlength=bins)[::-1].cumsum()[::-1][1:].astype(np.float64)
    positives = float(truth.sum())
    precision = np.divide(hits, predicted, out=np.ones_like(hits), where=predicted > 0)
    recall = hits / positives if positives else np.ones_like(hits)
    below = BETA_SQUARED * precision + recall
    return np.divide((1.0 + BETA_SQUARED) * precision * recall, below, out=np.zeros_like(below), where=below > 0)
