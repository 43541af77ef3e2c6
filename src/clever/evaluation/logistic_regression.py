"""Multinomial logistic regression by L-BFGS in float64, with the penalty chosen on validation images.

This is the linear protocol of the transfer literature (Kornblith et al. 2019; Ericsson et al. 2021, ssl-transfer's
linear.py). For each of 45 penalties w from 1e-6 to 1e5, a fit minimises

    sum over images of the cross-entropy + (w / 2) |W|^2.

The penalty is chosen by accuracy on validation images, and the classifier is refitted on training and validation images
together. The bias is not penalised. This is scikit-learn's ``LogisticRegression(C=1 / w)``; here, torch computes the
objective, on a GPU if there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from clever.errors import UserError
from clever.evaluation.accuracies import accuracy

PENALTIES: tuple[float, ...] = tuple(float(w) for w in np.logspace(-6, 5, 45))
"""The 45 penalties of Kornblith et al. (2019), ascending."""

_CHUNK_ELEMENTS = 2**24
"""Maximum number of logits in memory at once (128 MB of float64)."""


@dataclass(frozen=True)
class LogisticRegression:
    """A fitted classifier: ``weight`` float64 [classes, width], ``bias`` float64 [classes], on the features' device.

    ``converged`` is False if L-BFGS stopped at its largest number of iterations; ``iterations`` is their number.
    """

    weight: Tensor
    bias: Tensor
    penalty: float
    converged: bool
    iterations: int

    def logits(self, features: Tensor) -> Tensor:
        """Features [N, width] to logits float64 [N, classes]."""
        return torch.addmm(self.bias, features.to(self.weight), self.weight.t())

    def predict(self, features: Tensor) -> Tensor:
        """The class of each row of features [N, width], int64 [N]; the lower class if logits are equal."""
        rows = max(1, _CHUNK_ELEMENTS // max(1, len(self.bias)))
        return torch.cat([self.logits(chunk).argmax(dim=1) for chunk in torch.split(features, rows)])


@dataclass(frozen=True)
class PenaltySearch:
    """A classifier refitted on all images, and the search for its penalty.

    ``scores`` holds the accuracy on the validation images, in percent, of each penalty in ``penalties`` (ascending);
    ``unconverged`` counts the fits, including the refit, that stopped at the largest number of iterations.
    """

    classifier: LogisticRegression
    penalties: tuple[float, ...]
    scores: tuple[float, ...]
    unconverged: int


def fit(
    features: Tensor,
    labels: Tensor,
    classes: int,
    penalty: float,
    *,
    start: LogisticRegression | None = None,
    max_iterations: int = 1000,
    tolerance: float = 1e-5,
) -> LogisticRegression:
    """Minimise the penalised cross-entropy of features [N, width] with labels int64 [N].

    Args:
        classes: number of classes, including any without an image.
        penalty: w, positive.
        start: the starting point (the objective is convex, so this only saves time); None starts at zero.
        max_iterations: largest number of L-BFGS iterations.
        tolerance: largest entry of the gradient of objective / N at which the search ends.

    Raises:
        UserError: the features are not finite.
    """
    if not bool(features.isfinite().all()):
        raise UserError("logistic regression: some features are not finite; the backbone's weights are damaged")
    n, width = features.shape
    device = features.device
    rows = max(1, _CHUNK_ELEMENTS // max(classes, width))

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.from_numpy(flat).to(device).view(classes, width + 1)
        weight, bias = parameters[:, :width], parameters[:, width]
        loss = torch.zeros((), dtype=torch.float64, device=device)
        gradient = torch.zeros_like(parameters)
        for chunk, right in zip(torch.split(features, rows), torch.split(labels, rows), strict=True):
            chunk = chunk.double()
            log_probability = torch.addmm(bias, chunk, weight.t()).log_softmax(dim=1)
            loss -= log_probability.gather(1, right[:, None]).sum()
            residual = log_probability.exp_()
            residual.scatter_add_(1, right[:, None], residual.new_full((len(right), 1), -1.0))
            gradient[:, :width] += residual.t() @ chunk
            gradient[:, width] += residual.sum(dim=0)
        loss += penalty / 2 * weight.square().sum()
        gradient[:, :width] += penalty * weight
        # Use the mean instead of the sum: the minimum is the same, and one tolerance suits any number of images.
        return float(loss / n), (gradient / n).flatten().cpu().numpy()

    first = np.zeros(classes * (width + 1))
    if start is not None:
        first = torch.cat([start.weight, start.bias[:, None]], dim=1).flatten().cpu().numpy()
    options = {"maxiter": max_iterations, "maxfun": 4 * max_iterations, "gtol": tolerance, "ftol": 0.0, "maxcor": 10}
    found = minimize(objective, first, jac=True, method="L-BFGS-B", options=options)
    solution = torch.from_numpy(found.x).to(device).view(classes, width + 1)
    # Status 1: a limit was reached. Status 2: the line search reached float64 precision, an optimum.
    return LogisticRegression(
        solution[:, :width].clone(), solution[:, width].clone(), penalty, found.status != 1, int(found.nit)
    )


def search_penalty(
    features: Tensor,
    labels: Tensor,
    validation: Tensor,
    classes: int,
    *,
    penalties: Sequence[float] = PENALTIES,
    score: Callable[[Tensor, Tensor], float] | None = None,
    max_iterations: int = 1000,
    progress: Callable[[int, int], None] | None = None,
) -> PenaltySearch:
    """Choose the penalty on held-out rows, then refit on all rows.

    Fits go from the largest penalty to the smallest, and each starts from the previous one. If scores are equal, the
    larger penalty is chosen. The refit starts from the chosen fit.

    Args:
        features: [N, width], training and validation rows; labels: int64 [N].
        validation: bool [N], True for the rows that choose the penalty.
        penalties: positive numbers, in any order.
        score: function of (predictions, labels), in percent, larger is better; None uses :func:`accuracy`.
        max_iterations: largest number of iterations of each fit.
        progress: called after each fit with the number of finished fits and of all fits.

    Raises:
        UserError: there are no training or no validation rows, or features are not finite.
    """
    if not 0 < int(validation.sum()) < len(labels):
        raise UserError(
            f"logistic: {int(validation.sum())} of {len(labels)} training images are for validation; "
            "both parts need at least one: use more training images or another share"
        )
    judge = score or accuracy
    ascending = tuple(sorted(set(penalties)))
    train_features, train_labels = features[~validation], labels[~validation]
    held_features, held_labels = features[validation], labels[validation]
    fits: dict[float, tuple[LogisticRegression, float]] = {}
    last: LogisticRegression | None = None
    for done, penalty in enumerate(reversed(ascending), start=1):
        last = fit(train_features, train_labels, classes, penalty, start=last, max_iterations=max_iterations)
        fits[penalty] = last, judge(last.predict(held_features), held_labels)
        if progress is not None:
            progress(done, len(ascending) + 1)
    # max returns the first of equal values, and the fits go from the largest penalty down.
    best = max(fits.values(), key=lambda pair: pair[1])[0]
    final = fit(features, labels, classes, best.penalty, start=best, max_iterations=max_iterations)
    if progress is not None:
        progress(len(ascending) + 1, len(ascending) + 1)
    unconverged = sum(not each.converged for each in [final, *(pair[0] for pair in fits.values())])
    return PenaltySearch(final, ascending, tuple(fits[w][1] for w in ascending), unconverged)
