"""Frames and masks of a sequence that a figure shows, small enough to keep for every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clever.evaluation.subject import Subject
from clever.evaluation.video.scores import ObjectScore, summary

SEQUENCES = 2
"""Number of sequences that are kept, the first ones."""
FRAMES = 4
"""Number of kept frames per sequence, from the scored frames: the second to the last but one."""
LONGEST = 144
"""Longer side in pixels of kept pictures."""


def keep(
    subject: Subject,
    name: str,
    images: Sequence[NDArray[np.uint8]],
    objects: Sequence[NDArray[np.uint8]],
    made: Mapping[str, tuple[Sequence[NDArray[np.uint8]], Sequence[ObjectScore]]],
) -> None:
    """Keep frames of a sequence, their ground truth and predictions, and J&F over the whole sequence in percent.

    Args:
        subject: stores the pictures; nothing is added after ``SEQUENCES`` sequences.
        name: name of the sequence.
        images: the frames, uint8 [H, W, 3], at least three.
        objects: the true object numbers of each frame, uint8 [H, W].
        made: by part, the predicted object numbers of each frame and the scores of the objects.
    """
    facts = subject.picture_facts
    names = facts.setdefault("photographs", [])
    if len(names) >= SEQUENCES:
        return
    place = str(len(names))
    height, width = objects[0].shape
    scale = min(1.0, LONGEST / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    chosen = sorted({round(number) for number in np.linspace(1, len(images) - 2, FRAMES)})
    for number in chosen:
        small = Image.fromarray(images[number]).resize(size, Image.Resampling.LANCZOS)
        subject.pictures[f"{place}/{number}/image"] = np.asarray(small)
        maps = {"truth": objects[number]} | {part: found[number] for part, (found, _) in made.items()}
        for kind, numbers in maps.items():
            reduced = Image.fromarray(numbers.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
            subject.pictures[f"{place}/{number}/{kind}"] = np.asarray(reduced)
    facts.setdefault("frames", {})[place] = chosen
    for part, (_, scores) in made.items():
        facts.setdefault("j_and_f", {})[f"{place}/{part}"] = round(summary(scores)["j_and_f"], 2)
    names.append(name)
