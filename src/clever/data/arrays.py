"""Data sets that are already arrays on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clever.data.array_files import load_array
from clever.data.source import SPLITS, ArraySplit, Source
from clever.errors import UserError
from clever.files import expanded
from clever.parsing import foreign, read_text

if TYPE_CHECKING:
    from clever.data.options import DataOptions


def read_arrays(options: DataOptions) -> Source:
    """``root/{train,test}_images.npy`` uint8 [N, H, W, 3] and ``root/{train,test}_labels.npy`` integers [N].

    Grey images, [N, H, W] or [N, H, W, 1], become three equal channels, without a copy of the array.
    ``root/classes.txt`` may name the classes, one per line in label order; otherwise they are called 0, 1, 2 ... Images
    are memory-mapped. Pickled arrays are rejected.

    Raises :class:`UserError` for a missing or damaged file, a wrong dtype or shape, labels that do not match the
    images, labels without a class and classes without a training image.
    """
    assert options.root is not None
    root = expanded(options.root)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder (`root` of source {options.source})")
    names = class_names(root)
    source = read_arrays_in(root, names, square=options.image_size is None)
    return replace(source, notes=_doubts(source.train.labels)) if names is None else source


def _doubts(labels: NDArray[np.int64]) -> tuple[str, ...]:
    """A note if the labels look like object or image numbers."""
    classes = int(labels.max()) + 1
    mean = len(labels) / classes
    if mean >= 3 and (classes <= 1000 or mean >= 100):
        return ()
    return (f"{classes} classes of {mean:.3g} training images each: are the labels object or image numbers?",)


def read_arrays_in(root: Path, classes: tuple[str, ...] | None, *, square: bool) -> Source:
    """Read and check the four arrays of ``root``; ``square`` rejects other shapes, ``classes`` limits the labels."""
    splits = {name: _read_split(root, name, square) for name in SPLITS}
    train, test = splits["train"], splits["test"]
    if classes is None:
        # Every class has a training image, so labels are smaller than the number of images. Without this limit, a label
        # of 10**9 would fill the memory with class names.
        classes = tuple(str(label) for label in range(min(int(train.labels.max()) + 1, len(train.labels))))
        beyond = "has no training image"
    else:
        beyond = f"is beyond the {len(classes)} classes"
    for name, split in splits.items():
        wrong = np.flatnonzero((split.labels < 0) | (split.labels >= len(classes)))
        if len(wrong):
            label = int(split.labels[wrong[0]])
            why = "is negative" if label < 0 else beyond
            if name == "train" and label >= len(train.labels):
                why = f"is too large for {len(train.labels)} training images, because every class needs one"
            raise UserError(
                f"{root / f'{name}_labels.npy'}: label {label} of row {wrong[0]} {why}; "
                f"labels are 0 to {len(classes) - 1} ({len(wrong)} such rows)"
            )
    empty = [classes[label] for label in np.flatnonzero(np.bincount(train.labels, minlength=len(classes)) == 0)]
    if empty:
        raise UserError(f"{root / 'train_labels.npy'}: no training image of class {', '.join(empty[:20])}")
    if train.images.shape[1:] != test.images.shape[1:] and square:
        raise UserError(
            f"{root}: training images are {train.images.shape[1]} and test images {test.images.shape[1]} pixels wide; "
            "set image_size to resize both to one size"
        )
    return Source(classes, train, test, origin="arrays")


def class_names(root: Path) -> tuple[str, ...] | None:
    """The lines of ``root/classes.txt``, or None if there is no such file."""
    path = root / "classes.txt"
    if not path.exists():
        return None
    with foreign(path, "cannot be read as UTF-8 text"):
        names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if not names or len(set(names)) != len(names):
        raise UserError(f"{path}: must hold one class name per line, each once")
    return names


def _read_split(root: Path, split: str, square: bool) -> ArraySplit:
    images_path, labels_path = root / f"{split}_images.npy", root / f"{split}_labels.npy"
    images = load_array(images_path, memory_mapped=True)
    labels = load_array(labels_path, memory_mapped=False)
    if images.dtype != np.uint8:
        raise UserError(f"{images_path}: dtype is {images.dtype}; images must be uint8, 0 to 255")
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        first = "; move the channels last with .transpose(0, 2, 3, 1)" if images.shape[1:2] in ((1,), (3,)) else ""
        raise UserError(
            f"{images_path}: shape is {list(images.shape)}; images must be [N, height, width, 3] "
            f"(grey: [N, height, width]){first}"
        )
    if 0 in images.shape:
        raise UserError(f"{images_path}: shape is {list(images.shape)}; it holds no image")
    if square and images.shape[1] != images.shape[2]:
        raise UserError(
            f"{images_path}: images are {images.shape[1]} x {images.shape[2]} (height x width); "
            "set image_size to crop them to squares"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{labels_path}: dtype is {labels.dtype}; labels must be integers (int64)")
    if labels.ndim != 1 or len(labels) != len(images):
        raise UserError(
            f"{labels_path}: shape is {list(labels.shape)}, but {images_path.name} holds {len(images)} images; "
            f"labels must be [{len(images)}]"
        )
    if labels.dtype == np.uint64 and labels.max() > np.iinfo(np.int64).max:
        raise UserError(f"{labels_path}: label {labels.max()} does not fit int64")
    # Grey becomes three equal channels as a view, without a copy.
    pixels = np.broadcast_to(images.view(np.uint8), (*images.shape[:3], 3))
    return ArraySplit(pixels, labels.astype(np.int64))
