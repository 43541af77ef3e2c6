"""COCO's metrics against pycocotools on the same detections."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as reference_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from clever.evaluation.detection.coco import CocoSet, read_coco
from clever.evaluation.detection.scores import METRICS, coco_scores

from .toys import write_coco


def detections(data: CocoSet, shift: float, seed: int = 0) -> list[dict[str, Any]]:
    """Every object, moved by up to ``shift`` px, some of them twice, some with the wrong category."""
    draw = np.random.default_rng(seed)
    results = []
    for each in data.annotations.values():
        for annotation in each:
            for _ in range(int(draw.integers(1, 3))):
                x, y, width, height = np.array(annotation["bbox"]) + np.round(shift * draw.standard_normal(4))
                x, y, width, height = max(0, x), max(0, y), max(2, width), max(2, height)
                mask = np.zeros((64, 96), np.uint8)
                mask[int(y) : int(y + height), int(x) : int(x + width)] = 1
                wrong = shift > 0 and draw.random() < 0.2
                results.append(
                    {
                        "image_id": annotation["image_id"],
                        "category_id": 10 - annotation["category_id"] if wrong else annotation["category_id"],
                        "bbox": [float(value) for value in (x, y, width, height)],
                        "score": float(draw.random()),
                        "segmentation": reference_mask.encode(np.asfortranarray(mask)),
                    }
                )
    return results


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_metrics_equal_pycocotools(tmp_path: Path, shift: float) -> None:
    path, folder = write_coco(tmp_path, images=6)
    data = read_coco(path, folder)
    results = detections(data, shift)
    ours = coco_scores(data, results)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        expected: dict[str, float] = {}
        for prefix, kind in (("box", "bbox"), ("mask", "segm")):
            evaluation = COCOeval(truth, truth.loadRes([dict(result) for result in results]), kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            expected |= {f"{prefix}_{name}": value for name, value in zip(METRICS, evaluation.stats, strict=False)}
    assert ours == pytest.approx({name: 100 * value for name, value in expected.items() if value >= 0}, abs=1e-6)
    assert 5.0 < ours["box_ap"] < 95.0


def test_only_the_images_of_the_set_count(tmp_path: Path) -> None:
    data = read_coco(*write_coco(tmp_path))
    half = replace(data, images=data.images[:2])
    perfect = detections(data, 0.0)
    of_half = [result for result in perfect if result["image_id"] in {entry["id"] for entry in half.images}]
    assert coco_scores(half, of_half)["box_ap"] > 1.5 * coco_scores(data, of_half)["box_ap"]


def test_the_ground_truth_scores_100(tmp_path: Path) -> None:
    data = read_coco(*write_coco(tmp_path))
    perfect = detections(data, 0.0)
    perfect = [result for row, result in enumerate(perfect) if result["bbox"] not in [p["bbox"] for p in perfect[:row]]]
    assert coco_scores(data, perfect)["box_ap"] == pytest.approx(100.0)
    assert coco_scores(data, perfect)["mask_ap"] == pytest.approx(100.0)


def test_without_a_detection_the_metrics_are_the_same_and_0(tmp_path: Path) -> None:
    """All objects of the toy data are small except for one, which is medium, so there is no ap_large."""
    path, folder = write_coco(tmp_path)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["annotations"][0]["area"] = 50.0 * 50.0
    path.write_text(json.dumps(content), encoding="utf-8")
    data = read_coco(path, folder)
    nothing = coco_scores(data, [])
    assert nothing == {f"{kind}_{name}": 0.0 for kind in ("box", "mask") for name in METRICS if name != "ap_large"}
    assert nothing.keys() == coco_scores(data, detections(data, 1.0)).keys()
