"""J and F of DAVIS-2017, as davis2017-evaluation computes them for semi-supervised segmentation.

J is the intersection over union of an object's masks in one frame. F is the F-measure of their boundaries, within a
tolerance of 0.8 % of the image's diagonal. The first frame, whose labels are given, and the last frame are not scored.
Each object is averaged over its frames, and the result is the mean over objects, not over sequences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from clever.errors import UserError

Mask = NDArray[np.bool_]

TOLERANCE = 0.008
"""Share of the diagonal within which two boundaries match: 8 px at 480x854."""


@dataclass(frozen=True)
class ObjectScore:
    """J and F of one object in each scored frame, in [0, 1]."""

    sequence: str
    object: int
    region: tuple[float, ...]
    boundary: tuple[float, ...]


def region_similarity(prediction: Mask, truth: Mask) -> float:
    """J of two masks [H, W]: intersection over union; 1 if both are empty."""
    union = int((prediction | truth).sum())
    return int((prediction & truth).sum()) / union if union else 1.0


def boundary_accuracy(prediction: Mask, truth: Mask) -> float:
    """F of two masks [H, W]; 1 if both are empty, and 0 if only one is empty."""
    radius = math.ceil(TOLERANCE * math.hypot(*truth.shape))
    predicted, true = boundary(prediction), boundary(truth)
    if not predicted.any() or not true.any():
        # If only one is empty, precision and recall are 0 and 1, so F = 0.
        return float(predicted.any() == true.any())
    precision = float(_near(true, radius)[predicted].mean())
    recall = float(_near(predicted, radius)[true].mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary(mask: Mask) -> Mask:
    """Pixels of a mask [H, W] that differ from their right, lower or lower-right neighbour."""
    found = np.zeros_like(mask)
    found[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    found[:-1] |= mask[:-1] ^ mask[1:]
    found[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return found


def _near(marked: Mask, radius: int) -> Mask:
    """Mark pixels that have a marked pixel at most ``radius`` away: dilation by a disc."""
    # Nothing changes outside this box, and the distance transform of a small box is much faster.
    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    top, left = max(0, rows[0] - radius), max(0, columns[0] - radius)
    box = np.s_[top : rows[-1] + radius + 1, left : columns[-1] + radius + 1]
    near = np.zeros_like(marked)
    near[box] = ndimage.distance_transform_edt(~marked[box]) <= radius
    return near


def score_sequence(
    name: str, predictions: Sequence[NDArray[np.integer]], truths: Sequence[NDArray[np.integer]]
) -> list[ObjectScore]:
    """The scores of a sequence's objects, in the order of their numbers.

    Args:
        name: name of the sequence.
        predictions, truths: one map of object numbers [H, W] per frame, 0 for the background. The objects are those up
            to the largest number in the first frame's truth.

    Raises:
        UserError: there are fewer than three frames.
        ValueError: the frames differ in number or size, or an object is predicted that the first frame does not have.
    """
    if len(truths) < 3:
        raise UserError(f"{name}: has {len(truths)} frames; the first and the last are not scored, so 3 are needed")
    if len(predictions) != len(truths) or any(p.shape != t.shape for p, t in zip(predictions, truths, strict=True)):
        raise ValueError(f"{name}: predictions and truths differ in number or size")
    objects = int(truths[0].max())
    scored = list(zip(predictions, truths, strict=True))[1:-1]
    if max(int(prediction.max()) for prediction, _ in scored) > objects:
        raise ValueError(f"{name}: more objects are predicted than the {objects} of the first frame")
    return [
        ObjectScore(
            name,
            number,
            tuple(region_similarity(prediction == number, truth == number) for prediction, truth in scored),
            tuple(boundary_accuracy(prediction == number, truth == number) for prediction, truth in scored),
        )
        for number in range(1, objects + 1)
    ]


def summary(scores: Sequence[ObjectScore]) -> dict[str, float]:
    """``j_and_f``, and mean, recall and decay of J and F, in percent, each averaged over objects.

    Recall is the share of frames above 0.5. Decay is the mean over the first quarter of the frames minus the mean over
    the last quarter.

    Raises:
        ValueError: there are no objects.
    """
    if not scores:
        raise ValueError("no object was scored")
    result: dict[str, float] = {}
    for letter in ("j", "f"):
        frames = [np.array(score.region if letter == "j" else score.boundary) for score in scores]
        result[f"{letter}_mean"] = 100.0 * float(np.mean([values.mean() for values in frames]))
        result[f"{letter}_recall"] = 100.0 * float(np.mean([(values > 0.5).mean() for values in frames]))
        result[f"{letter}_decay"] = 100.0 * float(np.mean([_decay(values) for values in frames]))
    return {"j_and_f": (result["j_mean"] + result["f_mean"]) / 2, **result}


def _decay(values: NDArray[np.float64]) -> float:
    # The official edges, both ends inclusive; the official code's unsigned bytes, which wrap beyond 255 frames, are not
    # reproduced.
    edges = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    return float(values[edges[0] : edges[1] + 1].mean() - values[edges[3] : edges[4] + 1].mean())
