"""The whole protocol: each record is the measure of the features that it names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from clever.backbones import Backbone
from clever.data import Store
from clever.errors import UserError
from clever.evaluation.notes import RecordNote
from clever.evaluation.options.quality import QualityOptions
from clever.evaluation.quality.geometry import penalty_entropy, tolerance, uniformity
from clever.evaluation.quality.protocol import evaluate
from clever.evaluation.quality.spectrum import alpha_req, rankme

from ..subjects import by_axes, subject_of
from ..toys import TwoParts, coloured

REHEARSALS = [("resnet10t_half", {"views": 3, "alpha_last": 20})]
WAITS = {
    "evaluation/quality/protocol.py:evaluate": "the records, once",
    "evaluation/quality/spectrum.py:rankme": "a decomposition",
    "evaluation/quality/spectrum.py:alpha_req": "a decomposition",
    "evaluation/quality/spectrum.py:lidar": "a decomposition",
}

PLAIN = ("rankme", "alpha_req", "uniformity", "penalty_entropy", "tolerance")


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return coloured(tmp_path_factory.mktemp("patterns"), 3)


def run(
    backbone: Backbone, store: Store, ir_dim: int | None = None, **options: Any
) -> dict[tuple[str, str, str], float]:
    chosen = QualityOptions.model_validate({"alpha_first": 1, "views": 4} | options)
    return by_axes(evaluate(subject_of(backbone, store, ir_dim=ir_dim), chosen))


def test_records_are_the_measures_of_the_test_images(patterns: Store) -> None:
    found = run(TwoParts(), patterns, ir_dim=8)
    expected = {(p, "orig", metric) for p in ("ALL", "IR", "EF", "IR_cut") for metric in PLAIN}
    expected |= {(p, "views", metric) for p in ("ALL", "IR", "EF", "IR_cut") for metric in ("lidar", "alignment")}
    assert set(found) == expected
    batch = patterns.split("test").images(list(range(60)))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (patterns.mean, patterns.std))
    features = TwoParts()((batch.pixels.float() / 255 - mean) / std)
    for part, where in (("ALL", slice(0, 12)), ("IR", slice(0, 8)), ("EF", slice(8, 12))):
        values = {
            "rankme": rankme(features[:, where]),
            "alpha_req": alpha_req(features[:, where], 1, 50),
            "uniformity": uniformity(features[:, where]),
            "penalty_entropy": penalty_entropy(features[:, where], 0.2),
            "tolerance": tolerance(features[:, where], batch.labels),
        }
        for metric, value in values.items():
            assert found[part, "orig", metric] == pytest.approx(float(value), rel=1e-4)
    assert found == run(TwoParts(), patterns, ir_dim=8)
    assert run(TwoParts(), patterns, ir_dim=8, extraction_batch=7) == pytest.approx(found, rel=1e-4)


def test_identical_views_of_an_image_are_aligned(patterns: Store) -> None:
    nothing = {
        "name": "baug",
        "global_scale": [1.0, 1.0],
        "crop_ratio": [1.0, 1.0],
        "flip_probability": 0.0,
        "jitter_probability": 0.0,
        "grayscale_probability": 0.0,
        "blur_probability_global_1": 0.0,
    }
    still = run(TwoParts(), patterns, augmentation=nothing)
    assert still["ALL", "views", "alignment"] == pytest.approx(0.0, abs=1e-9)
    flipped = run(TwoParts(), patterns, augmentation=nothing | {"flip_probability": 0.5})
    assert flipped["ALL", "views", "alignment"] > 0.1
    # An odd number of views, although views are made two at a time.
    assert run(TwoParts(), patterns, views=3)["ALL", "views", "lidar"] > 1.0


def test_a_part_that_does_not_vary_is_noted(patterns: Store) -> None:
    class DeadFactor(TwoParts):
        def forward(self, images: Tensor) -> Tensor:
            return torch.cat([super().forward(images)[:, :8], torch.zeros(len(images), 4)], 1)

    with pytest.warns(RecordNote, match="rankme of EF is undefined: too few features vary"):
        found = run(DeadFactor(), patterns, ir_dim=8)
    assert ("EF", "orig", "rankme") not in found
    assert ("IR", "orig", "rankme") in found


def test_damaged_features_are_named_and_wrong_options_refused(patterns: Store) -> None:
    with pytest.raises(UserError, match=r"of 60 test images \(unchanged\) are not finite"):
        run(TwoParts(scale=float("nan")), patterns)
    wrong: list[dict[str, Any]] = [{"alpha_first": 9, "alpha_last": 9}, {"views": 1}, {"temperature": 0.0}]
    for options in wrong:
        with pytest.raises(ValidationError):
            QualityOptions.model_validate(options)
