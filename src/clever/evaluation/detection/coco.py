"""Any data set in COCO's format: one JSON file of annotations and a folder of images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clever.errors import UserError
from clever.evaluation.image_files import read_image
from clever.parsing import decode_json, foreign, read_text

_LARGEST = 4_000_000_000
"""Size limit in bytes of an annotation file; COCO's training annotations have 450 million bytes."""


@dataclass(frozen=True)
class CocoSet:
    """The annotated images of one split.

    ``images`` are the file's entries, sorted by id; ``annotations`` are the annotations of each image; ``categories``
    maps the file's category ids, ascending, to the detector's labels 1, 2 ... (0 is the background).
    """

    folder: Path
    images: tuple[dict[str, Any], ...]
    annotations: dict[int, list[dict[str, Any]]]
    categories: dict[int, int]
    names: tuple[str, ...]
    """Name of each label from 1 on."""
    content: dict[str, Any]
    """The whole JSON file, for COCO's metrics."""

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """Image ``row``, uint8 [H, W, 3], RGB.

        Raises:
            UserError: the file is missing, is not an image, or its size differs from the annotations.
        """
        entry = self.images[row]
        path = self.folder / entry["file_name"]
        pixels = read_image(path)
        if pixels.shape[:2] != (entry["height"], entry["width"]):
            raise UserError(
                f"{path}: is {pixels.shape[1]}x{pixels.shape[0]} px, but its annotations say "
                f"{entry['width']}x{entry['height']}"
            )
        return pixels

    def target(self, row: int) -> dict[str, Tensor]:
        """The training target of torchvision's detectors, without crowds and boxes without area.

        ``boxes`` float32 [K, 4] as x1, y1, x2, y2 in pixels, ``labels`` int64 [K], ``masks`` uint8 [K, H, W].
        """
        entry = self.images[row]
        boxes, labels, masks = [], [], []
        for annotation in self.annotations.get(entry["id"], []):
            x, y, width, height = annotation["bbox"]
            if annotation.get("iscrowd", 0) or width <= 0 or height <= 0:
                continue
            boxes.append([x, y, x + width, y + height])
            labels.append(self.categories[annotation["category_id"]])
            masks.append(rasterise(annotation["segmentation"], entry["height"], entry["width"]))
        shape = (0, entry["height"], entry["width"])
        return {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor(labels, dtype=torch.int64),
            "masks": torch.from_numpy(np.stack(masks)) if masks else torch.zeros(shape, dtype=torch.uint8),
        }


def rasterise(segmentation: Any, height: int, width: int) -> NDArray[np.uint8]:
    """COCO's polygons or run lengths as a mask, uint8 [H, W] of 0 and 1."""
    from faster_coco_eval import mask

    if isinstance(segmentation, dict) and not isinstance(segmentation["counts"], list):
        return np.asarray(mask.decode(segmentation))
    encoded = mask.frPyObjects(segmentation, height, width)
    return np.asarray(mask.decode(mask.merge(encoded) if isinstance(encoded, list) else encoded))


def read_coco(annotations: Path, images: Path) -> CocoSet:
    """Read a data set, and check that it has everything that the metrics and a detector need.

    Args:
        annotations: such as ``annotations/instances_train2017.json``.
        images: the folder of its images.

    Raises:
        UserError: a file or folder is missing, the JSON is not in COCO's format, or it lacks images, categories,
            boxes or segmentations.
    """
    with foreign(annotations, "cannot be read"):
        try:
            content = decode_json(read_text(annotations, _LARGEST), annotations)
        except FileNotFoundError:
            raise UserError(f"{annotations}: missing; give the annotations of a data set in COCO's format") from None
    if not images.is_dir():
        raise UserError(f"{images}: no such folder; give the folder of the images of {annotations.name}")
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list) or not content[key]:
            raise UserError(f"{annotations}: is not in COCO's format: {key!r} must be a list with entries")
    with foreign(annotations, "is not in COCO's format"):
        entries = tuple(sorted(content["images"], key=lambda entry: int(entry["id"])))
        by_id = sorted(content["categories"], key=lambda category: int(category["id"]))
        names = tuple(str(category["name"]) for category in by_id)
        categories = {category["id"]: label for label, category in enumerate(by_id, start=1)}
        by_image = _by_image(annotations, content["annotations"], {entry["id"] for entry in entries}, categories)
        missing = [entry["file_name"] for entry in entries if not (images / entry["file_name"]).is_file()]
        if not all(entry["height"] > 0 and entry["width"] > 0 for entry in entries):
            raise UserError(f"{annotations}: an image without height or width")
    if missing:
        raise UserError(f"{images}: {len(missing)} of {len(entries)} images are missing (first: {missing[0]})")
    return CocoSet(images, entries, by_image, categories, names, content)


def _by_image(
    source: Path, annotations: list[dict[str, Any]], images: set[int], categories: dict[int, int]
) -> dict[int, list[dict[str, Any]]]:
    """The annotations of each image, after checking that each one names an image and a category and has a shape."""
    found: dict[int, list[dict[str, Any]]] = {}
    for annotation in annotations:
        number = annotation["id"]
        if annotation["image_id"] not in images or annotation["category_id"] not in categories:
            raise UserError(f"{source}: annotation {number} names an image or category that does not exist")
        if len(annotation["bbox"]) != 4 or not annotation["segmentation"]:
            raise UserError(f"{source}: annotation {number} needs a box of 4 numbers and a segmentation")
        found.setdefault(annotation["image_id"], []).append(annotation)
    return found
