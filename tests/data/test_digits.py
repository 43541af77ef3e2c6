from __future__ import annotations

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from clever.data import DataOptions
from clever.data.digits import read_digits
from clever.data.source import ArraySplit


def test_split_is_stratified_and_complete() -> None:
    source = read_digits(DataOptions(source="digits"))
    every = np.bincount(load_digits().target)
    train, test = np.bincount(source.train.labels), np.bincount(source.test.labels)
    assert (len(source.train.labels), len(source.test.labels)) == (1437, 360)
    np.testing.assert_array_equal(train + test, every)
    # Rounding may move one image per class.
    assert np.abs(test - every * 360 / 1797).max() < 1


def test_images_equal_pillow_s_bicubic_enlargement() -> None:
    source = read_digits(DataOptions(source="digits", image_size=28))
    assert isinstance(source.train, ArraySplit)
    assert isinstance(source.test, ArraySplit)
    bundle = load_digits()
    expected = []
    for image in bundle.images:
        grey = Image.fromarray(np.round(image / 16 * 255).astype(np.uint8), "L")
        expected.append(np.asarray(grey.resize((28, 28), Image.Resampling.BICUBIC)).tobytes())
    found = {
        (image[..., 0].tobytes(), int(label))
        for split in (source.train, source.test)
        for image, label in zip(split.images, split.labels, strict=True)
    }
    assert found == set(zip(expected, bundle.target.tolist(), strict=True))
    assert (source.train.images == source.train.images[..., :1]).all()  # grey


def test_split_ignores_the_subset_seed() -> None:
    one, two = (read_digits(DataOptions(source="digits", subset_seed=seed)) for seed in (0, 1))
    assert isinstance(one.train, ArraySplit)
    assert isinstance(two.train, ArraySplit)
    assert one.train.images.shape == (1437, 32, 32, 3)
    np.testing.assert_array_equal(one.train.images, two.train.images)
