"""The 15 corruptions of ImageNet-C at five severities (Hendrycks & Dietterich 2019), drawn or read from disk.

They are drawn by the package ``imagecorruptions`` (of ``imagecorruptions-imaug``), whose strengths are designed for
images of 224 px. CIFAR-10-C and ImageNet-C, as distributed by their authors, are read if a user has them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clever.errors import UserError
from clever.evaluation.imagenet_c import SMALLEST, check
from clever.randomness import derive_seed


def corrupt(
    images: NDArray[np.uint8], name: str, severity: int, *, seed: int, indices: Sequence[int]
) -> NDArray[np.uint8]:
    """Corrupt a batch of images.

    An image's corruption is a function of only the seed, the corruption, the severity and the image's index.
    numpy's global generator, from which the package draws, is restored afterwards.

    Args:
        images: uint8 [N, H, W, 3], RGB, sides of at least 32 px.
        name: one of ``CORRUPTIONS``.
        severity: 1 to 5.
        seed: seed of the draw.
        indices: each image's index in its split.

    Raises:
        UserError: name, severity or size are not supported, or the package is not installed.
    """
    check(name, severity, min(images.shape[1:3]))
    imagecorruptions = _package()
    function = imagecorruptions.corruptions.__dict__[name]
    takes_seed = "seed" in inspect.signature(function).parameters
    out = np.empty_like(images)
    before = np.random.get_state()  # noqa: NPY002 (the package draws from the global generator)
    try:
        for row, index in enumerate(indices):
            drawn = derive_seed(seed, "corruption", name, severity, index) % 2**32
            np.random.seed(drawn)  # noqa: NPY002
            arguments = {"seed": drawn} if takes_seed else {}
            out[row] = imagecorruptions.corrupt(images[row], severity=severity, corruption_name=name, **arguments)
    finally:
        np.random.set_state(before)  # noqa: NPY002
    return out


def relative_accuracy(corrupted: Mapping[tuple[str, int], float], clean: float) -> dict[str, float]:
    """The remaining share of clean accuracy in percent, for each corruption over its severities, and their ``mean``.

    Args:
        corrupted: accuracy in percent by (corruption, severity).
        clean: accuracy in percent of the same classifier on clean images, above 0.

    Raises:
        ValueError: there is nothing to compare.
    """
    if not corrupted or clean <= 0.0:
        raise ValueError(f"{len(corrupted)} corrupted accuracies relative to {clean}")
    names = sorted({name for name, _ in corrupted})
    each = {
        name: 100.0 * float(np.mean([value for (other, _), value in corrupted.items() if other == name])) / clean
        for name in names
    }
    return each | {"mean": float(np.mean(list(each.values())))}


def read_cifar_c(root: Path, name: str, severity: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """One corruption of CIFAR-10-C or CIFAR-100-C: images uint8 [M, 32, 32, 3] and labels int64 [M], in test order.

    ``<root>/<name>.npy`` holds the five severities one after the other; ``labels.npy`` holds the labels of all.

    Raises:
        UserError: a file is missing or has the wrong shape.
    """
    check(name, severity, SMALLEST)
    images, labels = (_array(root / f"{stem}.npy") for stem in (name, "labels"))
    if images.ndim != 4 or images.shape[1:] != (32, 32, 3) or images.dtype != np.uint8 or len(images) % 5:
        raise UserError(f"{root / name}.npy: is {images.dtype} {images.shape}, but must be uint8 (5 M, 32, 32, 3)")
    if labels.shape != images.shape[:1]:
        raise UserError(f"{root / 'labels.npy'}: holds {len(labels)} labels for {len(images)} images")
    each = len(images) // 5
    rows = slice((severity - 1) * each, severity * each)
    return np.ascontiguousarray(images[rows]), labels[rows].astype(np.int64)


def find_imagenet_c(root: Path, name: str, severity: int, classes: Sequence[str]) -> list[tuple[Path, int]]:
    """The files of one corruption of ImageNet-C with their labels, class by class, sorted by name.

    The layout is ``<root>/<name>/<severity>/<class>/*.JPEG``; classes that are not requested are skipped.

    Args:
        classes: names of the class folders, in label order.

    Raises:
        UserError: a folder is missing or empty.
    """
    check(name, severity, SMALLEST)
    found: list[tuple[Path, int]] = []
    for label, kind in enumerate(classes):
        folder = root / name / str(severity) / kind
        files = sorted(folder.glob("*.JPEG")) if folder.is_dir() else []
        if not files:
            raise UserError(f"{folder}: no images (.JPEG); unpack {name} of ImageNet-C into {root}")
        found += [(path, label) for path in files]
    return found


def _array(path: Path) -> NDArray[np.generic]:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; unpack CIFAR-10-C there, with labels.npy") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as an array ({error})") from error


def _package() -> Any:
    try:
        import imagecorruptions
        import imagecorruptions.corruptions
    except ImportError as error:
        # OpenCV needs libGL, which a slim container may lack; the import error names the missing library.
        raise UserError(f"corruptions need imagecorruptions: pip install 'clever-ssl[evaluation]' ({error})") from error
    return imagecorruptions
