"""COCO's format: targets, masks, crowds, and the errors for files that are not in this format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as reference

from clever.errors import UserError
from clever.evaluation.detection.coco import rasterise, read_coco

from .toys import write_coco


def test_targets_are_corners_labels_from_one_and_masks(tmp_path: Path) -> None:
    data = read_coco(*write_coco(tmp_path))
    assert len(data) == 4
    assert data.categories == {3: 1, 7: 2}
    assert data.names == ("red", "blue")
    target = data.target(2)
    assert target["labels"].tolist() == [1, 2]
    for box, mask in zip(target["boxes"].int().tolist(), target["masks"], strict=True):
        expected = torch.zeros(64, 96, dtype=torch.uint8)
        expected[box[1] : box[3], box[0] : box[2]] = 1
        assert torch.equal(mask, expected)
    assert data.pixels(0).shape == (64, 96, 3)


def test_crowds_and_empty_boxes_are_no_targets(tmp_path: Path) -> None:
    path, folder = write_coco(tmp_path, images=1)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["annotations"][0]["iscrowd"] = 1
    content["annotations"][1]["bbox"][2] = 0
    path.write_text(json.dumps(content), encoding="utf-8")
    target = read_coco(path, folder).target(0)
    assert target["boxes"].shape == (0, 4)
    assert target["masks"].shape == (0, 64, 96)


@pytest.mark.parametrize("kind", ["polygon", "two polygons", "counts", "compressed"])
def test_every_kind_of_segmentation_is_rasterised_as_pycocotools_does(kind: str) -> None:
    polygon, other = [3.2, 4.1, 20.0, 5.5, 15.0, 18.3], [22.0, 2.0, 28.0, 2.0, 28.0, 9.0, 22.0, 9.0]
    encoded = reference.merge(reference.frPyObjects([polygon, other], 24, 32))
    segmentation: Any
    if kind == "counts":
        flat = reference.decode(encoded).flatten(order="F")
        counts, current, run = [], 0, 0
        for value in flat.tolist():
            if value != current:
                counts.append(run)
                current, run = value, 0
            run += 1
        segmentation = {"size": [24, 32], "counts": [*counts, run]}
    elif kind == "compressed":
        segmentation = {"size": [24, 32], "counts": encoded["counts"].decode()}
    else:
        segmentation = [polygon, other] if kind == "two polygons" else [polygon]
        encoded = reference.merge(reference.frPyObjects(segmentation, 24, 32))
    assert np.array_equal(rasterise(segmentation, 24, 32), reference.decode(encoded))


def test_a_wrong_file_gives_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.json: missing"):
        read_coco(tmp_path / "absent.json", tmp_path)
    path, folder = write_coco(tmp_path)
    good = json.loads(path.read_text(encoding="utf-8"))

    def refused(change: dict[str, Any], match: str) -> None:
        path.write_text(json.dumps({**good, **change}), encoding="utf-8")
        with pytest.raises(UserError, match=match):
            read_coco(path, folder)

    refused({"categories": []}, "'categories' must be a list with entries")
    refused({"images": [{"id": 1}]}, "names an image or category that does not exist")
    refused({"annotations": [{**good["annotations"][0], "category_id": 99}]}, "annotation 1 names an image or category")
    refused({"annotations": [{**good["annotations"][0], "segmentation": []}]}, "annotation 1 needs a box of 4 numbers")
    refused({"annotations": [{"id": 1}]}, "not in COCO's format")
    refused({"images": [*good["images"], {**good["images"][0], "id": 99, "file_name": "x.png"}]}, r"first: x\.png")
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match="is not in COCO's format"):
        read_coco(path, folder)
    with pytest.raises(UserError, match="nowhere: no such folder"):
        read_coco(path, tmp_path / "nowhere")
    path.write_text(json.dumps(good), encoding="utf-8")
    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(folder / "0.png")
    with pytest.raises(UserError, match=r"0\.png: is 5x5 px, but its annotations say 96x64"):
        read_coco(path, folder).pixels(0)
