"""Corruptions: the package's images, independent of other random draws; relative accuracy; the authors' layouts."""

from __future__ import annotations

from pathlib import Path

import imagecorruptions
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clever.errors import UserError
from clever.evaluation.corruptions import corrupt, find_imagenet_c, read_cifar_c, relative_accuracy
from clever.evaluation.imagenet_c import CORRUPTIONS


def photographs(n: int = 2, side: int = 48) -> NDArray[np.uint8]:
    y, x = np.mgrid[:side, :side]
    base = np.stack([x * 255 // side, y * 255 // side, (x + y) * 255 // (2 * side)], axis=2)
    noise = np.random.default_rng(0).integers(0, 30, (n, side, side, 3))
    return np.clip(base + noise, 0, 255).astype(np.uint8)


def test_the_names_match_the_package_s_common_corruptions() -> None:
    assert list(CORRUPTIONS) == imagecorruptions.get_corruption_names("common")


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_is_reproducible_image_by_image_and_changes_with_severity(name: str) -> None:
    images = photographs()
    np.random.seed(0)  # noqa: NPY002
    both = corrupt(images, name, 3, seed=1, indices=[4, 7])
    after = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    alone = corrupt(images[1:], name, 3, seed=1, indices=[7])
    assert np.array_equal(both[1:], alone)
    np.random.seed(0)  # noqa: NPY002
    assert after == np.random.random()  # noqa: NPY002 (the global generator was put back)
    assert both.shape == images.shape
    assert both.dtype == np.uint8

    def change(severity: int) -> float:
        out = corrupt(images, name, severity, seed=1, indices=[4, 7])
        return float(np.abs(out.astype(float) - images).mean())

    assert change(5) > change(1) > 0


@pytest.mark.parametrize("name", ["brightness", "contrast", "pixelate", "jpeg_compression", "defocus_blur"])
def test_deterministic_corruptions_equal_the_package_s(name: str) -> None:
    images = photographs(1)
    expected = imagecorruptions.corrupt(images[0], severity=4, corruption_name=name)
    assert np.array_equal(corrupt(images, name, 4, seed=0, indices=[0])[0], expected)


@pytest.mark.parametrize("name", ["gaussian_noise", "impulse_noise", "glass_blur"])
def test_draws_depend_on_seed_and_image(name: str) -> None:
    image = photographs(1)
    first = corrupt(image, name, 3, seed=0, indices=[0])
    assert not np.array_equal(first, corrupt(image, name, 3, seed=1, indices=[0]))
    assert not np.array_equal(first, corrupt(image, name, 3, seed=0, indices=[1]))


def test_unsupported_corruptions_are_rejected() -> None:
    with pytest.raises(UserError, match="corruption 'rain' is unknown"):
        corrupt(photographs(), "rain", 1, seed=0, indices=[0, 1])
    with pytest.raises(UserError, match="severity 6 of fog"):
        corrupt(photographs(), "fog", 6, seed=0, indices=[0, 1])
    with pytest.raises(UserError, match="images of 16 px are too small"):
        corrupt(photographs(side=16), "fog", 1, seed=0, indices=[0, 1])


def test_relative_accuracy_by_hand() -> None:
    measured = relative_accuracy({("fog", 1): 60.0, ("fog", 5): 20.0, ("snow", 1): 80.0}, clean=80.0)
    assert measured == pytest.approx({"fog": 50.0, "snow": 100.0, "mean": 75.0})
    with pytest.raises(ValueError, match="relative to 0"):
        relative_accuracy({("fog", 1): 1.0}, 0.0)


def test_cifar_c_is_read_severity_by_severity(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (15, 32, 32, 3)).astype(np.uint8)
    np.save(tmp_path / "fog.npy", images)
    with pytest.raises(UserError, match=r"labels\.npy: missing"):
        read_cifar_c(tmp_path, "fog", 1)
    np.save(tmp_path / "labels.npy", np.tile(np.arange(3), 5))
    found, labels = read_cifar_c(tmp_path, "fog", 4)
    assert np.array_equal(found, images[9:12])
    assert labels.tolist() == [0, 1, 2]
    np.save(tmp_path / "snow.npy", images[:, :16])
    with pytest.raises(UserError, match=r"snow\.npy: is uint8 \(15, 16, 32, 3\)"):
        read_cifar_c(tmp_path, "snow", 1)


def test_imagenet_c_is_read_in_the_order_of_the_classes(tmp_path: Path) -> None:
    for kind in ("n01", "n02", "n03"):
        folder = tmp_path / "fog" / "2" / kind
        folder.mkdir(parents=True)
        Image.fromarray(photographs(1)[0]).save(folder / "b.JPEG")
    found = find_imagenet_c(tmp_path, "fog", 2, ["n03", "n01"])
    assert [(path.parent.name, label) for path, label in found] == [("n03", 0), ("n01", 1)]
    with pytest.raises(UserError, match=r"fog/1/n03: no images"):
        find_imagenet_c(tmp_path, "fog", 1, ["n03"])
