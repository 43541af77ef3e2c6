"""Photographs with saliency masks on disk, in their distributed layouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clever.errors import UserError
from clever.evaluation.image_files import image_size, read_image

LAYOUTS: dict[str, tuple[tuple[str, str], ...]] = {
    "ecssd": (("images", "ground_truth_mask"), ("images", "masks"), ("img", "gt")),
    "duts": (("DUTS-TE-Image", "DUTS-TE-Mask"), ("img", "gt")),
    "dut_omron": (("DUT-OMRON-image", "pixelwiseGT-new-PNG"), ("img", "gt")),
    "pets": (("images", "annotations/trimaps"),),
}
"""Folders of photographs and of masks, by data set: first the official names, then TokenCut's and those of samples."""

_PHOTOGRAPHS = (".jpg", ".jpeg", ".png", ".bmp")
_TRIMAP_ANIMAL, _TRIMAP_BORDER = 1, 3


@dataclass(frozen=True)
class Photograph:
    """One photograph and its mask."""

    image: Path
    mask: Path
    trimap: bool = False
    """Whether the mask is an Oxford pets trimap: 1 animal, 2 background, 3 border, which is ignored."""

    def pixels(self) -> NDArray[np.uint8]:
        """uint8 [H, W, 3], RGB.

        Raises:
            UserError: the file cannot be read as an image.
        """
        return read_image(self.image)

    def truth(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """The object's pixels and the pixels that count, bool [H, W] each.

        Raises:
            UserError: the file cannot be read as an image.
        """
        values = read_image(self.mask, "L")
        if self.trimap:
            return values == _TRIMAP_ANIMAL, values != _TRIMAP_BORDER
        return values > 127, np.ones(values.shape, dtype=bool)


def find_photographs(root: Path, layout: str) -> list[Photograph]:
    """The photographs of a data set that have a mask, sorted by name.

    The folders are searched for in ``root`` and in each of its folders, so ``root`` may contain the unpacked archive.
    For the pets, the photographs in ``annotations/test.txt`` are used, or all if that file is missing.

    Args:
        root: folder into which the data set was unpacked.
        layout: a key of ``LAYOUTS``.

    Raises:
        UserError: a folder is missing, a photograph has no mask, or the two differ in size.
    """
    images, masks = require_layout(root, layout)
    by_stem = {path.stem: path for path in sorted(masks.iterdir()) if _is_image(path)}
    photographs = [path for path in sorted(images.iterdir()) if _is_image(path)]
    if layout == "pets":
        chosen = _pets_test(masks.parent / "test.txt")
        photographs = [path for path in photographs if chosen is None or path.stem in chosen]
    if not photographs:
        raise UserError(f"{images}: contains no photograph (.jpg, .png or .bmp)")
    missing = [path.name for path in photographs if path.stem not in by_stem]
    if missing:
        raise UserError(
            f"{masks}: {len(missing)} of {len(photographs)} photographs have no mask of the same name "
            f"(first: {missing[0]}); unpack the masks again"
        )
    found = [Photograph(path, by_stem[path.stem], layout == "pets") for path in photographs]
    for photograph in found:
        size, mask_size = image_size(photograph.image), image_size(photograph.mask)
        if size != mask_size:
            raise UserError(
                f"{photograph.mask}: is {mask_size[0]}x{mask_size[1]} px, its photograph {size[0]}x{size[1]} px"
            )
    return found


def require_layout(root: Path, layout: str) -> tuple[Path, Path]:
    """The folders of photographs and of masks of a data set.

    Raises:
        UserError: the layout is unknown, or a folder is missing.
    """
    if layout not in LAYOUTS:
        raise UserError(f"saliency data set {layout!r} is unknown; choose one of {', '.join(LAYOUTS)}")
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; unpack the saliency data set {layout} there")
    for parent in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        for images, masks in LAYOUTS[layout]:
            if (parent / images).is_dir() and (parent / masks).is_dir():
                return parent / images, parent / masks
    wanted = " or ".join(f"{images}/ and {masks}/" for images, masks in LAYOUTS[layout])
    raise UserError(f"{root}: does not hold {layout}: the folders {wanted} are missing")


def _pets_test(path: Path) -> set[str] | None:
    if not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8").splitlines()
    return {line.split()[0] for line in lines if line.strip() and not line.startswith("#")}


def _is_image(path: Path) -> bool:
    # macOS archives contain an extra "._name.png" for each file.
    return path.suffix.lower() in _PHOTOGRAPHS and not path.name.startswith(".")


def resize_to_patches(pixels: NDArray[np.uint8], patch: int | Sequence[int]) -> NDArray[np.uint8]:
    """Pixels [H, W, 3] with each side resized to the nearest positive multiple of ``patch`` by Lanczos' filter."""
    down, across = (patch, patch) if isinstance(patch, int) else patch
    height, width = pixels.shape[:2]
    size = max(1, round(width / across)) * across, max(1, round(height / down)) * down
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
