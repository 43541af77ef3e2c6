"""Cosines between the outputs of two views, and measures of collapse. All are computed in float32."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from clever.baselines.baseline import HeadOutput
from clever.collectives import gather_rows


def mean_cosine(first: Tensor, second: Tensor) -> Tensor:
    """The signed cosine between rows of ``first`` and ``second``, both [N, K], averaged over the images of all
    processes.

    The mean covers all processes because the absolute value taken afterwards does not commute with averaging.
    """
    mine = F.cosine_similarity(first.float(), second.float(), dim=-1).mean()
    return gather_rows(mine.unsqueeze(0)).mean()


def predicted_cosine(student: Sequence[HeadOutput], targets: Sequence[HeadOutput]) -> Tensor:
    """Half of [mean cos(p1, z2) + mean cos(p2, z1)], where p are the student's predictions and z the targets' detached
    projections.

    Args:
        student: two views, each with a prediction.
        targets: the same two views, from the student itself or from a momentum teacher.
    """
    cosines = []
    for view, target in zip(student, reversed(targets), strict=True):
        assert view.prediction is not None
        cosines.append(mean_cosine(view.prediction, target.projection.detach()))
    return torch.stack(cosines).mean()


def mean_absolute_cosine(views: Sequence[Tensor]) -> Tensor:
    """The mean of | mean cosine | over the pairs of views; 0 when the views of an image are orthogonal on average.

    Args:
        views: V >= 2 tensors [N, K]; both sides of each pair receive gradients.

    >>> import torch
    >>> first, second = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    >>> mean_absolute_cosine([first, second]).item()
    0.0
    >>> mean_absolute_cosine([first, -first]).item()
    1.0
    """
    return torch.stack([mean_cosine(first, second).abs() for first, second in combinations(views, 2)]).mean()


def spread(vectors: Tensor) -> Tensor:
    """sqrt(K) times the mean standard deviation of the l2-normalised rows of [N, K] (Chen and He 2021, section 4.1).

    Near 1 for isotropic vectors, 0 when all images look the same.
    """
    deviation: Tensor = F.normalize(vectors.float(), dim=-1).std(dim=0).mean()
    return deviation * math.sqrt(vectors.shape[1])


@torch.no_grad()
def diagnose_cosines(student: Sequence[HeadOutput]) -> Mapping[str, Tensor]:
    """Spread of the first view's outputs (0 at collapse), and mean cosine of two views' projections."""
    first, second = student[:2]
    values = {
        "projection_std": spread(first.projection),
        "projection_cosine": F.cosine_similarity(first.projection.float(), second.projection.float(), dim=-1).mean(),
    }
    return values if first.prediction is None else values | {"prediction_std": spread(first.prediction)}
