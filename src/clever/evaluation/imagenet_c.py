"""The names and severities of ImageNet-C's corruptions, and their layout on disk (Hendrycks & Dietterich 2019)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from clever.errors import UserError

CORRUPTIONS = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)
SEVERITIES = (1, 2, 3, 4, 5)
SMALLEST = 32
"""Side in pixels below which the package ``imagecorruptions`` rejects an image."""


def check(name: str, severity: int, side: int) -> None:
    """Raise UserError if ``imagecorruptions`` does not draw this name and severity at this side in pixels."""
    if name not in CORRUPTIONS:
        raise UserError(f"corruption {name!r} is unknown; choose one of {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise UserError(f"severity {severity} of {name}: choose 1, 2, 3, 4 or 5")
    if side < SMALLEST:
        raise UserError(f"corruption {name}: images of {side} px are too small, at least {SMALLEST} px are needed")


def require_corrupted(root: Path, corruptions: Iterable[str], severities: Iterable[int]) -> None:
    """Check that a folder holds some corruptions, without reading images.

    Raises:
        UserError: the folder is missing or has neither layout, or a corruption or severity is missing.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; unpack CIFAR-10-C or ImageNet-C there, or omit root")
    cifar = (root / "labels.npy").is_file()
    severities = list(severities)
    for name in corruptions:
        for severity in severities:
            path = root / f"{name}.npy" if cifar else root / name / str(severity)
            if not path.exists():
                raise UserError(
                    f"{path}: missing; expected <corruption>.npy and labels.npy (CIFAR-10-C), or "
                    "<corruption>/<severity>/<class>/*.JPEG (ImageNet-C)"
                )
