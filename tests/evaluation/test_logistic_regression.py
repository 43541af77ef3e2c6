"""Logistic regression against scikit-learn's on the same features, and the choice of its penalty."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression as Reference
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor

from clever.errors import UserError
from clever.evaluation.accuracies import accuracy, mean_class_accuracy
from clever.evaluation.logistic_regression import PENALTIES, fit, search_penalty


def digits(n: int | None = None) -> tuple[Tensor, Tensor]:
    pixels, labels = load_digits(return_X_y=True)
    return torch.from_numpy(pixels[:n]).float() / 16, torch.from_numpy(labels[:n])


@pytest.mark.parametrize("penalty", [100.0, 1.0, 0.01])
def test_a_fit_equals_scikit_learn(penalty: float) -> None:
    """Weights and bias equal those of scikit-learn's solver at C = 1 / w, run to a gradient of 1e-9."""
    features, labels = digits(400)
    ours = fit(features, labels, 10, penalty, tolerance=1e-9, max_iterations=5000)
    reference = Reference(C=1 / penalty, tol=1e-9, max_iter=5000).fit(features.double().numpy(), labels.numpy())
    assert ours.converged
    torch.testing.assert_close(ours.weight, torch.from_numpy(reference.coef_), atol=2e-4, rtol=1e-3)
    # The bias is determined only up to a constant that all classes share.
    shared = torch.from_numpy(reference.intercept_)
    torch.testing.assert_close(ours.bias - ours.bias.mean(), shared - shared.mean(), atol=2e-4, rtol=1e-3)


def test_digits_are_classified_as_scikit_learn_does() -> None:
    """Raw pixels of digits: the accuracy is within 0.1 points of scikit-learn's at the same penalty."""
    features, labels = digits()
    train, test = slice(0, 1300), slice(1300, None)
    ours = fit(features[train], labels[train], 10, 0.1)
    reference = Reference(C=10.0, tol=1e-6, max_iter=2000).fit(features[train].double().numpy(), labels[train].numpy())
    measured = accuracy(ours.predict(features[test]), labels[test])
    assert measured == pytest.approx(100 * reference.score(features[test].double().numpy(), labels[test]), abs=0.1)


def test_the_penalties_are_the_usual_45() -> None:
    assert len(PENALTIES) == 45
    assert PENALTIES[0] == pytest.approx(1e-6)
    assert PENALTIES[-1] == pytest.approx(1e5)
    assert all(later / earlier == pytest.approx(10**0.25) for earlier, later in pairwise(PENALTIES))


def test_the_chosen_penalty_is_the_best_on_the_validation_rows_and_the_refit_sees_all() -> None:
    """Compared with scikit-learn, fitted from scratch for each penalty."""
    features, labels = digits(600)
    generator = torch.Generator().manual_seed(0)
    noisy = features + 0.5 * torch.randn(features.shape, generator=generator)
    validation = torch.arange(600) % 5 == 0
    penalties = (1e4, 1.0, 100.0, 1e-2)
    seen: list[tuple[int, int]] = []
    found = search_penalty(
        noisy, labels, validation, 10, penalties=penalties, progress=lambda done, of: seen.append((done, of))
    )
    scores = {}
    for penalty in penalties:
        reference = Reference(C=1 / penalty, tol=1e-7, max_iter=3000)
        reference.fit(noisy[~validation].double().numpy(), labels[~validation].numpy())
        scores[penalty] = 100 * reference.score(noisy[validation].double().numpy(), labels[validation].numpy())
    assert found.penalties == tuple(sorted(penalties))
    assert found.scores == pytest.approx([scores[w] for w in sorted(penalties)], abs=0.9)
    assert found.classifier.penalty == max(scores, key=lambda w: (scores[w], w))
    alone = fit(noisy, labels, 10, found.classifier.penalty, tolerance=1e-8)
    torch.testing.assert_close(found.classifier.weight, alone.weight, atol=1e-3, rtol=1e-2)
    assert seen == [(done, 5) for done in range(1, 6)]


def test_reaching_the_iteration_limit_is_reported() -> None:
    features, labels = digits(200)
    assert not fit(features, labels, 10, 1e-6, max_iterations=3).converged
    found = search_penalty(features, labels, torch.arange(200) < 50, 10, penalties=[1e-6, 1e5], max_iterations=3)
    assert found.unconverged >= 2


def test_a_custom_score_chooses_the_penalty() -> None:
    """A score that prefers few correct answers chooses another penalty than accuracy does."""
    features, digit = digits(300)
    validation = torch.arange(300) % 3 == 0
    found = search_penalty(
        features, digit, validation, 10, penalties=[1e-2, 1e5], score=lambda p, right: -accuracy(p, right)
    )
    assert found.classifier.penalty == 1e5
    assert search_penalty(features, digit, validation, 10, penalties=[1e-2, 1e5]).classifier.penalty == 1e-2


def test_the_mean_over_classes_equals_scikit_learn() -> None:
    predictions, labels = torch.tensor([0, 0, 0, 0, 1, 1]), torch.tensor([0, 0, 0, 0, 1, 0])
    assert accuracy(predictions, labels) == pytest.approx(500 / 6)
    expected = 100 * balanced_accuracy_score(labels.numpy(), predictions.numpy())
    assert mean_class_accuracy(predictions, labels) == pytest.approx(expected)


def test_features_must_be_finite_and_both_splits_nonempty() -> None:
    features, labels = digits(50)
    with pytest.raises(UserError, match="0 of 50"):
        search_penalty(features, labels, torch.zeros(50, dtype=torch.bool), 10)
    features[3, 2] = float("nan")
    with pytest.raises(UserError, match="not finite"):
        fit(features, labels, 10, 1.0)
