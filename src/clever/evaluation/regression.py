"""Linear regression of continuous targets on frozen features, in closed form and in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_CHUNK_ROWS = 4096
"""Maximum number of rows of features in float64 at once."""

HELD_OUT_SHARE = 0.2
"""Share of the training images on which a penalty is chosen."""


@dataclass(frozen=True)
class LinearMap:
    """``weight`` float64 [D, T] and ``bias`` float64 [T]."""

    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Predictions float64 [N, T] for features [N, D]."""
        return torch.cat([chunk.double() @ self.weight for chunk in torch.split(features, _CHUNK_ROWS)]) + self.bias


def ridge(features: Tensor, targets: Tensor, penalties: Sequence[float]) -> list[LinearMap]:
    """Minimise ``||Y - X W - b||^2 + penalty ||W||^2`` over W and b, for each penalty.

    The bias is not penalised. Uses the smaller of the two Gram matrices, N x N or D x D, decomposed once for all
    penalties.

    Args:
        features: X [N, D].
        targets: Y [N, T].
        penalties: positive numbers.
    """
    mean, target_mean = _mean(features), _mean(targets)
    centred = targets.double() - target_mean
    if len(features) < features.shape[1]:
        rows = features.double() - mean
        values, vectors = torch.linalg.eigh(rows @ rows.t())
        left, right = rows.t() @ vectors, vectors.t() @ centred
    else:
        gram = mean.new_zeros(len(mean), len(mean))
        cross = mean.new_zeros(len(mean), targets.shape[1])
        for chunk, part in zip(torch.split(features, _CHUNK_ROWS), torch.split(centred, _CHUNK_ROWS), strict=True):
            rows = chunk.double() - mean
            gram.addmm_(rows.t(), rows)
            cross.addmm_(rows.t(), part)
        values, vectors = torch.linalg.eigh(gram)
        left, right = vectors, vectors.t() @ cross
    # Rounding errors can make a zero eigenvalue slightly negative.
    values = values.clamp_min(0.0).unsqueeze(1)
    maps = []
    for penalty in penalties:
        weight = left @ (right / (values + penalty))
        maps.append(LinearMap(weight, target_mean - mean @ weight))
    return maps


def ridge_selected(
    features: Tensor, targets: Tensor, images: Tensor, penalties: Sequence[float], generator: torch.Generator
) -> LinearMap:
    """Ridge regression with the penalty that predicts held-out images best, chosen separately for each target.

    A fifth of the images is held out to choose the penalty; the returned weights are fitted on all rows.

    Args:
        features: [N, D], standardised.
        targets: [N, T].
        images: int64 [N], each row's image; either all views of an image are held out or none.
        penalties: candidates, in units of the number of rows, so that their meaning does not depend on it.
        generator: draws the images to hold out.
    """
    held_out = _held_out(images, generator).to(features.device)
    fitted = ridge(features[~held_out], targets[~held_out], [p * int((~held_out).sum()) for p in penalties])
    truth = targets[held_out].double()
    errors = torch.stack([((linear(features[held_out]) - truth) ** 2).mean(0) for linear in fitted])
    best = errors.argmin(0)
    maps = ridge(features, targets, [p * len(features) for p in penalties])
    columns = torch.arange(targets.shape[1], device=best.device)
    weights, biases = torch.stack([m.weight for m in maps]), torch.stack([m.bias for m in maps])
    return LinearMap(weights[best, :, columns].t().contiguous(), biases[best, columns])


def mean_squared_error(predictions: Tensor, targets: Tensor) -> Tensor:
    """Float64 [T], in the square of each target's unit, of predictions [N, T]."""
    return ((predictions.double() - targets.double()) ** 2).mean(0)


def r2(predictions: Tensor, targets: Tensor) -> Tensor:
    """The coefficient of determination of each target, float64 [T]: 1 is perfect, 0 as good as the targets' mean.

    The predictions are [N, T]; each target must vary.
    """
    truth = targets.double()
    return 1.0 - mean_squared_error(predictions, targets) / ((truth - truth.mean(0)) ** 2).mean(0)


def _held_out(images: Tensor, generator: torch.Generator) -> Tensor:
    """Bool [N] on the CPU: the rows of a fifth of the images, at least one, at most all but one."""
    distinct, places = torch.unique(images.cpu(), return_inverse=True)
    count = min(max(1, round(HELD_OUT_SHARE * len(distinct))), len(distinct) - 1)
    chosen = torch.zeros(len(distinct), dtype=torch.bool)
    chosen[torch.randperm(len(distinct), generator=generator)[:count]] = True
    return chosen[places]


def _mean(values: Tensor) -> Tensor:
    total = torch.zeros(values.shape[1], dtype=torch.float64, device=values.device)
    for chunk in torch.split(values, _CHUNK_ROWS):
        total += chunk.double().sum(0)
    return total / len(values)
