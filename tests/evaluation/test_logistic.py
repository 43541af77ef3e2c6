"""Protocol logistic: against scikit-learn on the same features, for each part; its records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from clever.evaluation.logistic import evaluate, penalty_grid
from clever.evaluation.logistic_regression import PENALTIES
from clever.evaluation.options.logistic import LogisticOptions

from .subjects import build, by_axes, subject_of
from .toys import TwoParts, coloured, store_of

REHEARSALS = [("resnet10t_half", {"penalties": 3, "perturbations": ["orig"], "max_iterations": 20})]
WAITS = {
    "evaluation/logistic.py:evaluate": "features go to the device; scores",
    "evaluation/logistic.py:evaluate.<locals>.<genexpr>": "labels",
    "evaluation/logistic_regression.py:search_penalty": "rows that are held out",
    "evaluation/logistic_regression.py:fit": "the solution",
    "evaluation/logistic_regression.py:fit.<locals>.objective": "L-BFGS of SciPy reads each loss",
    "evaluation/accuracies.py:accuracy": "a score",
    "evaluation/accuracies.py:mean_class_accuracy": "a score",
}


def test_raw_pixels_of_digits_score_as_with_scikit_learn(tmp_path: Path) -> None:
    """Within 0.1 points at the chosen penalty."""
    pixels, labels = load_digits(return_X_y=True)
    images = np.repeat((pixels.reshape(-1, 8, 8, 1) * 15.9).astype(np.uint8), 3, axis=3)
    labels = labels.astype(np.int64)
    store = store_of(tmp_path, images[:1200], labels[:1200], images[1200:], labels[1200:])
    options = LogisticOptions(penalties=3, smallest_penalty=0.1, largest_penalty=1000.0, perturbations=["orig"])
    found = by_axes(evaluate(subject_of(build("pixels", 8), store), options))
    penalty = found["ALL", "orig", "penalty"]
    flat = (images.astype(np.float64) / 255 - np.array(store.mean)) / np.array(store.std)
    flat = flat.transpose(0, 3, 1, 2).reshape(len(images), -1)
    reference = LogisticRegression(C=1 / penalty, tol=1e-6, max_iter=3000).fit(flat[:1200], labels[:1200])
    assert found["ALL", "orig", "top1"] == pytest.approx(100 * reference.score(flat[1200:], labels[1200:]), abs=0.1)
    assert found["ALL", "orig", "top1"] > 85


def test_each_part_and_perturbation_has_its_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = coloured(tmp_path, classes=3)
    options = LogisticOptions(penalties=2, perturbations=["orig", "cj"], choose_by="mean_class")
    records = evaluate(subject_of(TwoParts(), store, ir_dim=9), options)
    found = by_axes(records)
    assert {(part, perturbation) for part, perturbation, metric in found if metric == "top1"} == {
        (part, perturbation) for part in ("ALL", "IR", "EF") for perturbation in ("orig", "cj")
    }
    assert found["ALL", "orig", "top1"] > 60
    assert {record.protocol for record in records} == {"logistic"}
    assert "logistic EF: 3 of 3 fits" in capsys.readouterr().err


def test_the_default_penalties_are_the_usual_ones() -> None:
    assert penalty_grid(LogisticOptions()) == pytest.approx(PENALTIES)
    with pytest.raises(ValidationError, match="smallest_penalty 1000000"):
        LogisticOptions(smallest_penalty=1e6)
