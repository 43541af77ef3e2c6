"""Protocol detection: its records, its frozen backbone, and the error for a missing data set before anything trains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clever.errors import UserError
from clever.evaluation.detection.protocol import evaluate
from clever.evaluation.options.detection import DetectionOptions

from ..subjects import build, by_axes, subject_of
from ..toys import coloured
from .toys import write_coco

NOT_REHEARSED = "it reads its own data set"


def options(root: Path, **changed: object) -> DetectionOptions:
    return DetectionOptions.model_validate(
        {
            "root": str(root),
            "train_annotations": "train/annotations.json",
            "train_images": "train/images",
            "test_annotations": "test/annotations.json",
            "test_images": "test/images",
            "epochs": 1,
            "batch_size": 2,
            "frozen": True,
            "short_sides": [64],
            "longest_side": 96,
            **changed,
        }
    )


def test_a_detector_is_trained_and_scored(tmp_path: Path) -> None:
    write_coco(tmp_path / "train", images=2)
    write_coco(tmp_path / "test", images=2, seed=1)
    state = tmp_path / "state"
    subject = subject_of(
        build("resnet10t_half", 64), coloured(tmp_path / "toys", classes=2), ir_dim=200, state_folder=state
    )
    records = evaluate(subject, options(tmp_path, limit=1))
    found = by_axes(records)
    assert {("ALL", "orig", f"{kind}_{name}") for kind in ("box", "mask") for name in ("ap", "ap50", "ap75")} <= set(
        found
    )
    assert {(record.n, record.epoch) for record in records} == {(1, 1)}
    assert list(state.iterdir()) == []


def test_a_missing_data_set_is_reported(tmp_path: Path) -> None:
    subject = subject_of(build("resnet10t_half", 64), coloured(tmp_path / "toys", classes=2))
    with pytest.raises(UserError, match=r"train/annotations\.json: missing"):
        options(tmp_path).require()
    write_coco(tmp_path / "train", images=1)
    path, _ = write_coco(tmp_path / "test", images=1)
    options(tmp_path).require()
    with pytest.raises(UserError, match="nowhere: no such folder"):
        options(tmp_path, test_images="nowhere").require()
    content = json.loads(path.read_text(encoding="utf-8"))
    content["categories"].append({"id": 9, "name": "green"})
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match="differ in their categories"):
        evaluate(subject, options(tmp_path))
