"""Notes on a data set for the user, one line each, printed once and kept in ``store.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clever.data import image_files, repeats
from clever.data.repeats import Repeats
from clever.data.source import SPLITS, Source, SplitName

HALF_OF_SIXTEEN_BITS = 2**15
"""If all 16-bit images of a data set are darker than this value, they use fewer bits, as images from 12-bit cameras and
scanners do."""


@dataclass(frozen=True)
class SixteenBit:
    """How many 16-bit greyscale images a split has, and their brightest value."""

    count: int
    brightest: int


def notes_on(source: Source, sixteen_bit: Mapping[SplitName, SixteenBit], found: Repeats) -> list[str]:
    """The notes of the source, then those on ignored files, classes, 16-bit images and repeats."""
    notes = list(source.notes)
    for name in SPLITS:
        passed_over = dict(source.split(name).passed_over)
        if passed_over:
            notes.append(f"{sum(passed_over.values())} files ignored in {name}: {image_files.described(passed_over)}")
    if len(source.classes) == 1:
        notes.append(f"one class ({source.classes[0]}): every accuracy will be 100 %")
    count = sum(found.count for found in sixteen_bit.values())
    brightest = max(found.brightest for found in sixteen_bit.values())
    if count and brightest < HALF_OF_SIXTEEN_BITS:
        levels = (brightest + 128) // 257 + 1
        notes.append(
            f"{count} 16-bit images have a maximum of {brightest} of 65535, and keep {levels} of 256 grey levels; "
            "scale their values to the full range first"
        )
    return notes + repeats.described(found)
