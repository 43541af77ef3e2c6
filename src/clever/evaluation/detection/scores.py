"""COCO's metrics for boxes and masks, computed by faster-coco-eval."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torchvision.models.detection import MaskRCNN

from clever.errors import UserError
from clever.evaluation.detection.coco import CocoSet

METRICS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
"""In the order of COCO's summary: the mean over IoU .50 to .95, at .50, at .75, and by the object's area."""


@torch.no_grad()
def detect(model: MaskRCNN, data: CocoSet, report: Callable[[int, int], None] | None = None) -> list[dict[str, Any]]:
    """The detections of all images in COCO's result format: boxes as x, y, width, height, masks as run lengths.

    Args:
        model: in evaluation mode, on its device.
        report: called after each image with the number of finished and of all images.
    """
    from faster_coco_eval import mask

    device = next(model.parameters()).device
    categories = {label: category for category, label in data.categories.items()}
    results: list[dict[str, Any]] = []
    for row in range(len(data)):
        image = torch.from_numpy(data.pixels(row).copy()).permute(2, 0, 1).float().to(device) / 255
        [found] = model([image])
        for box, label, score, soft in zip(
            found["boxes"].tolist(), found["labels"].tolist(), found["scores"].tolist(), found["masks"], strict=True
        ):
            encoded = mask.encode(np.asfortranarray((soft[0] > 0.5).to(torch.uint8).cpu().numpy()))
            results.append(
                {
                    "image_id": data.images[row]["id"],
                    "category_id": categories[label],
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "score": score,
                    "segmentation": encoded,
                }
            )
        if report is not None:
            report(row + 1, len(data))
    return results


def coco_scores(data: CocoSet, results: list[dict[str, Any]]) -> dict[str, float]:
    """COCO's average precision in percent: ``box_ap`` ... ``mask_ap_large``.

    A metric is omitted if there is no object of its size, whatever was detected, so that runs on the same images have
    the same metrics. Without any detection, all metrics are 0.

    Raises:
        UserError: faster-coco-eval is not installed.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise UserError("COCO's metrics need faster-coco-eval: pip install 'clever-ssl[evaluation]'") from error
    scores: dict[str, float] = {}
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its tables
        truth = COCO(data.content)
        for prefix, kind in (("box", "bbox"), ("mask", "segm")):
            # Both kinds read the same results; loading modifies them, so each kind gets a copy.
            evaluation = COCOeval_faster(truth, truth.loadRes([dict(result) for result in results]), kind)
            evaluation.params.imgIds = [entry["id"] for entry in data.images]
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            values = [float(value) for value in evaluation.stats[: len(METRICS)]]
            # -1 means that there is no object of that size.
            scores |= {
                f"{prefix}_{metric}": 100.0 * value for metric, value in zip(METRICS, values, strict=True) if value >= 0
            }
    return scores
