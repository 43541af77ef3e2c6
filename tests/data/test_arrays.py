from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clever.data import DataOptions, prepare
from clever.data.arrays import read_arrays
from clever.errors import UserError

from .conftest import ArraysMaker


def read(root: Path, **options: Any) -> Any:
    return read_arrays(DataOptions(source="arrays", root=str(root), **options))


def test_arrays_and_class_names_are_taken_as_they_are(make_arrays: ArraysMaker) -> None:
    root = make_arrays()
    source = read(root)
    assert source.classes == ("0", "1", "2", "3")
    np.testing.assert_array_equal(source.train.images, np.load(root / "train_images.npy"))
    np.testing.assert_array_equal(source.test.labels, np.load(root / "test_labels.npy"))
    (root / "classes.txt").write_text("ant\nbee\ncow\ndoe\n")
    assert read(root).classes == ("ant", "bee", "cow", "doe")


IMAGES = np.zeros((20, 6, 6, 3), dtype=np.uint8)
LABELS = np.arange(20) % 4


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"train_images": None}, "train_images.npy: no such file"),
        ({"test_labels": None}, "test_labels.npy: no such file"),
        ({"train_images": IMAGES.astype(np.float32)}, "train_images.npy: dtype is float32; images must be uint8"),
        ({"train_images": IMAGES[0, ..., 0]}, "shape is [6, 6]; images must be [N, height, width, 3]"),
        ({"train_images": IMAGES[..., :2]}, "images must be [N, height, width, 3] (grey: [N, height, width])"),
        ({"train_images": IMAGES.transpose(0, 3, 1, 2)}, "move the channels last with .transpose(0, 2, 3, 1)"),
        ({"test_images": IMAGES[:0]}, "test_images.npy: shape is [0, 6, 6, 3]; it holds no image"),
        ({"train_images": IMAGES[:, :4]}, "4 x 6 (height x width); set image_size"),
        ({"test_images": np.zeros((7, 8, 8, 3), dtype=np.uint8)}, "set image_size to resize both to one size"),
        ({"train_labels": LABELS.astype(np.float64)}, "train_labels.npy: dtype is float64"),
        ({"train_labels": LABELS[:19]}, "shape is [19], but train_images.npy holds 20 images"),
        ({"train_labels": LABELS[:, None]}, "shape is [20, 1]"),
        ({"train_labels": LABELS - 1}, "label -1 of row 0 is negative"),
        ({"test_labels": np.full(7, 9)}, "test_labels.npy: label 9 of row 0 has no training image"),
        ({"train_labels": np.where(LABELS == 2, 3, LABELS)}, "no training image of class 2"),
        ({"train_labels": LABELS + 10**9}, "label 1000000000 of row 0 is too large for 20 training images"),
        ({"train_labels": LABELS.astype(object)}, "train_labels.npy: not a complete .npy array without pickles"),
    ],
)
def test_wrong_arrays_are_named(make_arrays: ArraysMaker, replaced: dict[str, Any], message: str) -> None:
    root = make_arrays(**replaced)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        read(root)
    assert "\n" not in str(caught.value)


def test_label_beyond_the_named_classes(make_arrays: ArraysMaker) -> None:
    root = make_arrays()
    (root / "classes.txt").write_text("ant\nbee\ncow\n")
    with pytest.raises(UserError, match=r"label 3 of row 3 is beyond the 3 classes.*\(5 such rows\)"):
        read(root)


@pytest.mark.parametrize("text", ["", "ant\nant\n"])
def test_class_names_must_exist_and_differ(make_arrays: ArraysMaker, text: str) -> None:
    root = make_arrays()
    (root / "classes.txt").write_text(text)
    with pytest.raises(UserError, match=r"classes\.txt: must hold one class name per line"):
        read(root)


def test_truncated_array(make_arrays: ArraysMaker) -> None:
    root = make_arrays()
    path = root / "train_images.npy"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"train_images\.npy: not a complete \.npy array"):
        read(root)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder"):
        read(tmp_path / "nowhere")


def test_with_image_size_images_need_not_be_square(make_arrays: ArraysMaker) -> None:
    root = make_arrays(train_images=IMAGES[:, :4])
    assert read(root, image_size=5).train.images.shape == (20, 4, 6, 3)


@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 1)])
def test_grey_arrays_become_three_equal_channels(make_arrays: ArraysMaker, tmp_path: Path, shape: tuple[int]) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (20, *shape), dtype=np.uint8)
    root = make_arrays(train_images=grey, test_images=grey[:7])
    store = prepare(DataOptions(source="arrays", root=str(root)), tmp_path / "store")
    expected = np.stack([grey.reshape(20, 6, 6)] * 3, axis=-1)
    np.testing.assert_array_equal(np.load(store.folder / "train_images.npy"), expected)
    np.testing.assert_allclose(store.mean, [grey.astype(np.float64).mean() / 255] * 3, rtol=1e-12)
