"""The photographs and masks that a figure shows, small enough to keep for every run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clever.evaluation.saliency.datasets import Photograph
from clever.evaluation.saliency.scores import intersection_over_union
from clever.evaluation.subject import Subject

LONGEST = 144
"""Longer side in pixels of kept pictures."""


def keep(subject: Subject, photograph: Photograph, made: Mapping[tuple[str, str], NDArray[Any]]) -> None:
    """Keep a photograph, its ground truth and its masks, and each mask's IoU at full size in percent.

    Args:
        subject: stores the pictures.
        photograph: one with a mask.
        made: masks by part and method, bool or approximately in [0, 1], of the photograph's size.
    """
    facts = subject.picture_facts
    names = facts.setdefault("photographs", [])
    place = str(len(names))
    pixels, (truth, counted) = photograph.pixels(), photograph.truth()
    height, width = truth.shape
    scale = min(1.0, LONGEST / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    subject.pictures[f"{place}/image"] = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    masks = {"truth": truth} | {f"{part}/{method}": mask > 0.5 for (part, method), mask in made.items()}
    for name, mask in masks.items():
        small = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
        subject.pictures[f"{place}/{name}"] = np.asarray(small) > 127
        if name != "truth":
            overlap = intersection_over_union(mask[counted], truth[counted])
            facts.setdefault("iou", {})[f"{place}/{name}"] = round(100.0 * overlap, 2)
    names.append(photograph.image.stem)
