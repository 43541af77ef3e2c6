"""Drawn stand-ins, in their official layouts, for every data set that a study of the whole paper reads.

Each picture shows a bright bar on a darker background, in two colours that vary between pictures.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

OBJECTS = 3
"""Objects per class of 3DIEBench; one of them is in the test split."""
VIEWS = 50


def draw_all(root: Path) -> None:
    """Write 3DIEBench, ECSSD, oxford-iiit-pet, DAVIS and coco below ``root``."""
    rng = np.random.default_rng(0)
    _draw_objects(root / "3DIEBench", rng)
    _draw_ecssd(root / "ECSSD", rng)
    _draw_pets(root / "oxford-iiit-pet", rng)
    _draw_davis(root / "DAVIS", rng)
    _draw_coco(root / "coco", rng)


def _picture(
    rng: np.random.Generator, size: tuple[int, int], angle: float, red: float = 0.5
) -> tuple[Image.Image, Image.Image]:
    """A bar rotated by ``angle`` (radians), and its mask of 0 and 255. ``size`` is (width, height) in pixels."""
    width, height = size
    noise = rng.integers(0, 40, (height, width, 3))
    image = Image.fromarray((noise + np.array([200 * red, 60, 40])).clip(0, 255).astype(np.uint8))
    mask = Image.new("L", size, 0)
    reach = 0.35 * min(size)
    across, down = reach * math.cos(angle), reach * math.sin(angle)
    ends = (width / 2 - across, height / 2 - down, width / 2 + across, height / 2 + down)
    ImageDraw.Draw(image).line(ends, fill=(240, 230, round(255 * red)), width=round(reach))
    ImageDraw.Draw(mask).line(ends, fill=255, width=round(reach))
    return image, mask


def _draw_objects(root: Path, rng: np.random.Generator) -> None:
    """3DIEBench: two classes, which differ slightly in colour; the bar's angle is the third latent."""
    high = np.array([math.pi / 2] * 3 + [1, math.pi / 4, 2 * math.pi, 1])
    low = np.array([-math.pi / 2] * 3 + [0.0] * 4)
    for label, synset in enumerate(("02691156", "03001627")):
        for number in range(OBJECTS):
            folder = root / synset / f"object{label}{number}"
            folder.mkdir(parents=True)
            for view in range(VIEWS):
                latent = rng.uniform(low, high)
                image, _ = _picture(rng, (32, 32), latent[2], 0.47 + 0.06 * label)
                image.save(folder / f"image_{view}.jpg", quality=95)
                np.save(folder / f"latent_{view}.npy", latent)


def _draw_ecssd(root: Path, rng: np.random.Generator, count: int = 2) -> None:
    for folder in ("images", "ground_truth_mask"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        image, mask = _picture(rng, (96, 64), rng.uniform(0, math.pi))
        image.save(root / "images" / f"{number:04d}.jpg", quality=95)
        mask.save(root / "ground_truth_mask" / f"{number:04d}.png")


def _draw_pets(root: Path, rng: np.random.Generator) -> None:
    """Two breeds with two training and two test pictures each, and their trimaps."""
    (root / "images").mkdir(parents=True)
    (root / "annotations" / "trimaps").mkdir(parents=True)
    lines: dict[str, list[str]] = {"trainval": [], "test": []}
    for label, breed in enumerate(("Abyssinian", "american_bulldog")):
        for number in range(4):
            name = f"{breed}_{number + 1}"
            image, mask = _picture(rng, (80, 64), rng.uniform(0, math.pi), 0.2 + 0.6 * label)
            image.save(root / "images" / f"{name}.jpg", quality=95)
            trimap: NDArray[np.uint8] = np.where(np.asarray(mask) > 0, 1, 2).astype(np.uint8)
            Image.fromarray(trimap).save(root / "annotations" / "trimaps" / f"{name}.png")
            lines["trainval" if number < 2 else "test"].append(f"{name} {label + 1} {1 + label} 1\n")
    for split, content in lines.items():
        (root / "annotations" / f"{split}.txt").write_text("".join(content), encoding="utf-8")


def _draw_davis(root: Path, rng: np.random.Generator, frames: int = 4) -> None:
    """One sequence: a rotating bar."""
    for folder in ("JPEGImages", "Annotations"):
        (root / folder / "480p" / "bar").mkdir(parents=True)
    (root / "ImageSets" / "2017").mkdir(parents=True)
    (root / "ImageSets" / "2017" / "val.txt").write_text("bar\n", encoding="utf-8")
    for frame in range(frames):
        image, mask = _picture(rng, (128, 64), 0.1 * frame)
        image.save(root / "JPEGImages" / "480p" / "bar" / f"{frame:05d}.jpg", quality=95)
        Image.fromarray((np.asarray(mask) > 0).astype(np.uint8)).save(
            root / "Annotations" / "480p" / "bar" / f"{frame:05d}.png"
        )


def _draw_coco(root: Path, rng: np.random.Generator, count: int = 2) -> None:
    """Two categories of upright boxes, in two colours."""
    colours = {1: (230, 40, 40), 2: (40, 60, 230)}
    (root / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        (root / f"{split}2017").mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for image in range(1, count + 1):
            pixels = rng.integers(90, 130, (64, 96, 3)).astype(np.uint8)
            for category, colour in colours.items():
                x, y = 48 * (category - 1) + int(rng.integers(0, 16)), int(rng.integers(0, 30))
                pixels[y : y + 30, x : x + 30] = colour
                outline = [x, y, x + 30, y, x + 30, y + 30, x, y + 30]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image,
                        "category_id": category,
                        "bbox": [x, y, 30, 30],
                        "area": 900,
                        "iscrowd": 0,
                        "segmentation": [outline],
                    }
                )
            images.append({"id": image, "file_name": f"{image:012d}.jpg", "height": 64, "width": 96})
            Image.fromarray(pixels).save(root / f"{split}2017" / f"{image:012d}.jpg", quality=95)
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}],
        }
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content), encoding="utf-8")
