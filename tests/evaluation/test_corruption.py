"""Protocol corruption: its clean probe is the logistic one; relative accuracy under corruption; its records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from clever.data import Store
from clever.errors import UserError
from clever.evaluation.corruption import evaluate
from clever.evaluation.logistic import evaluate as evaluate_logistic
from clever.evaluation.options.corruption import CorruptionOptions
from clever.evaluation.options.logistic import LogisticOptions

from .subjects import build, by_axes, subject_of
from .toys import coloured, store_of

NOT_REHEARSED = "it needs images of 32 px and a further package"


@pytest.fixture
def greys(tmp_path: Path) -> Store:
    """Noisy grey images of 32 px; one class is brighter by six grey levels."""
    draw = np.random.default_rng(0)

    def images(n: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(n, dtype=np.int64) % 2
        noisy = 110 + 6 * labels[:, None, None] + draw.normal(0, 8, (n, 32, 32))
        return np.repeat(noisy[..., None], 3, axis=3).clip(0, 255).astype(np.uint8), labels

    return store_of(tmp_path, *images(80), *images(40))


def test_clean_accuracy_equals_the_logistic_probe_and_corruption_lowers_it(greys: Store) -> None:
    options = CorruptionOptions(corruptions=["brightness", "pixelate"], severities=[1, 5], penalty=10.0)
    found = by_axes(evaluate(subject_of(build("pixels", 32), greys), options))
    same = LogisticOptions(penalties=1, smallest_penalty=10.0, largest_penalty=10.0, perturbations=["orig"])
    clean = by_axes(evaluate_logistic(subject_of(build("pixels", 32), greys), same))["ALL", "orig", "top1"]
    assert found["ALL", "orig", "top1"] == clean == 100.0
    assert found["ALL", "brightness_5", "top1"] == 50.0  # all are classified as the brighter class
    both = (found["ALL", "brightness_1", "top1"] + found["ALL", "brightness_5", "top1"]) / 2
    assert found["ALL", "brightness", "relative_top1"] == pytest.approx(both)
    assert found["ALL", "pixelate", "relative_top1"] > 90.0
    relative = [found["ALL", name, "relative_top1"] for name in ("brightness", "pixelate")]
    assert found["ALL", "corrupted", "relative_top1"] == pytest.approx(np.mean(relative))


def test_every_part_has_records_that_do_not_depend_on_the_batch(greys: Store) -> None:
    backbone = build("resnet10t_half", 32)
    records = [
        by_axes(
            evaluate(
                subject_of(backbone, greys, ir_dim=200),
                CorruptionOptions(corruptions=["gaussian_noise"], severities=[3], extraction_batch=batch),
            )
        )
        for batch in (7, 40)
    ]
    assert records[0] == pytest.approx(records[1], abs=2.6)  # one image of 40: rounding may change one prediction
    assert {part for part, _, _ in records[0]} == {"ALL", "IR", "EF"}


def test_small_images_and_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="images of 8 px are too small to corrupt"):
        evaluate(subject_of(build("pixels", 8), coloured(tmp_path, classes=2)), CorruptionOptions())
    with pytest.raises(ValidationError, match="image_size 16 is too small"):
        CorruptionOptions(image_size=16)
    with pytest.raises(ValidationError, match="corruption 'rain' is unknown"):
        CorruptionOptions(corruptions=["rain"])
    with pytest.raises(ValidationError, match="listed twice"):
        CorruptionOptions(corruptions=["fog", "fog"])
