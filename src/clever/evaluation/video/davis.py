"""DAVIS-2017 on disk, with several objects per sequence or with the single-object masks of DAVIS-2016."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clever.errors import UserError
from clever.evaluation.image_files import read_image

VOID = 255


@dataclass(frozen=True)
class Sequence:
    """One video: its frames and their annotations, in order."""

    name: str
    frames: tuple[Path, ...]
    annotations: tuple[Path, ...]

    def images(self) -> list[NDArray[np.uint8]]:
        """The frames, uint8 [H, W, 3], RGB.

        Raises:
            UserError: a file cannot be read as an image, or the frames differ in size.
        """
        images = [read_image(path) for path in self.frames]
        self._one_size(self.frames, images)
        return images

    def objects(self) -> list[NDArray[np.uint8]]:
        """The object number of each pixel, uint8 [H, W] per frame; 0 is the background.

        If the first annotation contains only 0 and 255, 255 is its only object; otherwise, 255 is void and becomes 0.

        Raises:
            UserError: a file cannot be read, the annotations differ in size, or the first one labels no object.
        """
        maps = [read_image(path, None) for path in self.annotations]
        self._one_size(self.annotations, maps)
        single = set(np.unique(maps[0]).tolist()) <= {0, VOID}
        numbered = [np.where(values == VOID, np.uint8(single), values) for values in maps]
        if not numbered[0].any():
            raise UserError(f"{self.annotations[0]}: labels no object, so there is nothing to propagate")
        return numbered

    def _one_size(self, paths: tuple[Path, ...], arrays: list[NDArray[np.uint8]]) -> None:
        for path, array in zip(paths, arrays, strict=True):
            if array.shape != arrays[0].shape:
                raise UserError(f"{path}: has the shape {array.shape}, the first of its sequence {arrays[0].shape}")


def find_sequences(root: Path, split: str = "val", resolution: str = "480p") -> list[Sequence]:
    """The sequences of a split: the ones listed in ``ImageSets/2017/<split>.txt``, or all if there is no such list.

    Args:
        root: the folder DAVIS, or its parent.
        split: ``val`` (30 sequences) or ``train``.
        resolution: the folder below ``JPEGImages`` and ``Annotations``.

    Raises:
        UserError: a folder or a listed sequence is missing, a frame has no annotation, or a sequence has fewer than
            three frames.
    """
    images, annotations = require_layout(root, resolution)
    listed = images.parents[1] / "ImageSets" / "2017" / f"{split}.txt"
    if listed.is_file():
        names = listed.read_text(encoding="utf-8").split()
    else:
        names = sorted(path.name for path in images.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names:
        raise UserError(f"{images}: holds no sequence")
    return [_sequence(name, images / name, annotations / name) for name in names]


def require_layout(root: Path, resolution: str = "480p") -> tuple[Path, Path]:
    """The folders of frames and of annotations, in ``root`` or in DAVIS below it.

    Raises:
        UserError: one of them is missing.
    """
    for parent in (root, root / "DAVIS"):
        images, annotations = parent / "JPEGImages" / resolution, parent / "Annotations" / resolution
        if images.is_dir() and annotations.is_dir():
            return images, annotations
    raise UserError(f"{root}: does not hold DAVIS: JPEGImages/{resolution} and Annotations/{resolution} are missing")


def _sequence(name: str, images: Path, annotations: Path) -> Sequence:
    frames = tuple(sorted(path for path in images.glob("*.jpg") if not path.name.startswith(".")))
    masks = tuple(annotations / f"{path.stem}.png" for path in frames)
    if len(frames) < 3:
        raise UserError(f"{images}: holds {len(frames)} frames (.jpg); a sequence needs 3, unpack DAVIS again")
    missing = [path for path in masks if not path.is_file()]
    if missing:
        raise UserError(f"{missing[0]}: is missing ({len(missing)} of {len(frames)} annotations of {name} are)")
    return Sequence(name, frames, masks)
