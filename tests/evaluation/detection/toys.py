"""A tiny data set in COCO's format: coloured rectangles on a grey background."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COLOURS = {3: (230, 40, 40), 7: (40, 60, 230)}


def write_coco(root: Path, images: int = 4, seed: int = 0) -> tuple[Path, Path]:
    """Write ``annotations.json`` and a folder of images; category ids are 3 and 7. Returns both paths."""
    draw = np.random.default_rng(seed)
    folder = root / "images"
    folder.mkdir(parents=True)
    entries, annotations = [], []
    for number in range(images):
        pixels = draw.integers(90, 130, (64, 96, 3)).astype(np.uint8)
        for category in COLOURS:
            x, y = int(draw.integers(0, 56)), int(draw.integers(0, 30))
            width, height = int(draw.integers(24, 40)), int(draw.integers(20, 34))
            pixels[y : y + height, x : x + width] = COLOURS[category]
            annotations.append(annotation(len(annotations) + 1, 10 + number, category, x, y, width, height))
        entries.append({"id": 10 + number, "file_name": f"{number}.png", "height": 64, "width": 96})
        Image.fromarray(pixels).save(folder / f"{number}.png")
    content = {
        "images": entries,
        "annotations": annotations,
        "categories": [{"id": 7, "name": "blue"}, {"id": 3, "name": "red"}],
    }
    path = root / "annotations.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path, folder


def annotation(number: int, image: int, category: int, x: int, y: int, width: int, height: int) -> dict[str, Any]:
    """A rectangle in COCO's format."""
    right, bottom = x + width, y + height
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": 0,
        "segmentation": [[x, y, right, y, right, bottom, x, bottom]],
    }
