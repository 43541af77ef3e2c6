from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets.folder import default_loader
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as reference

from clever.data.decoding import UnreadableError, bound_shorter_side, decode_rgb, resize_square

from .conftest import noise


def encode(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("size", [1, 7, 32, 33])
@pytest.mark.parametrize("shape", [(40, 53), (53, 40), (32, 32), (33, 97), (9, 10), (1, 1), (200, 11)])
def test_squares_equal_torchvision_resize_and_centre_crop(shape: tuple[int, int], size: int) -> None:
    pixels = noise(3, *shape)
    resized = reference.resize(Image.fromarray(pixels), [size], InterpolationMode.BICUBIC)
    expected = np.asarray(reference.center_crop(resized, [size, size]))
    np.testing.assert_array_equal(resize_square(pixels, size), expected)


def test_bound_shrinks_like_torchvision_and_never_enlarges() -> None:
    pixels = noise(4, 50, 80)
    expected = np.asarray(reference.resize(Image.fromarray(pixels), [20], InterpolationMode.BICUBIC))
    np.testing.assert_array_equal(bound_shorter_side(pixels, 20), expected)
    assert bound_shorter_side(pixels, 50) is pixels
    assert bound_shorter_side(pixels, 64) is pixels
    assert bound_shorter_side(pixels, None) is pixels


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "LA", "RGBA", "P"])
def test_modes_become_rgb_as_torchvision_loads_them(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(noise(5, 11, 13)).convert(mode)
    path = tmp_path / "image.png"
    image.save(path)
    found = decode_rgb(path.read_bytes())
    np.testing.assert_array_equal(found, np.asarray(default_loader(str(path))))
    assert found.shape == (11, 13, 3)
    assert found.dtype == np.uint8


def test_cmyk_jpeg_keeps_its_colours() -> None:
    orange = Image.new("RGB", (16, 16), (255, 128, 0))
    found = decode_rgb(encode(orange.convert("CMYK"), "JPEG", quality=95))
    assert np.abs(found.astype(int) - [255, 128, 0]).max() <= 6


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], dtype=np.uint16)
    found = decode_rgb(encode(Image.fromarray(values)))
    expected = np.round(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(found, np.repeat(expected[..., None], 3, axis=-1))


def test_sixteen_bit_pgm() -> None:
    values = np.array([[0, 256, 65535]], dtype=">u2")
    found = decode_rgb(b"P5 3 1 65535\n" + values.tobytes())
    assert found[0, :, 0].tolist() == [0, 1, 255]


def test_palette_with_transparency_gives_no_warning() -> None:
    image = Image.fromarray(noise(6, 8, 8)).quantize(16)
    data = encode(image, transparency=bytes(range(0, 256, 16)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = decode_rgb(data)
    np.testing.assert_array_equal(found, np.asarray(image.convert("RGB")))


def test_exif_orientation_is_ignored_as_torchvision_ignores_it(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be displayed rotated by 90 degrees
    Image.fromarray(noise(7, 10, 20)).save(path, exif=exif)
    found = decode_rgb(path.read_bytes())
    assert found.shape == (10, 20, 3)
    np.testing.assert_array_equal(found, np.asarray(default_loader(str(path))))


def test_one_pixel_is_an_image() -> None:
    assert decode_rgb(encode(Image.new("RGB", (1, 1), (1, 2, 3)))).tolist() == [[[1, 2, 3]]]


def test_multi_picture_jpeg_gives_its_first_picture() -> None:
    first, second = Image.new("RGB", (8, 8), (200, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 200))
    found = decode_rgb(encode(first, "MPO", save_all=True, append_images=[second]))
    assert found[..., 0].min() > 190
    assert found[..., 2].max() < 10


@pytest.mark.parametrize("cut", [0.3, 0.7, 0.98])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_truncated_files_are_unreadable(format: str, cut: float) -> None:
    data = encode(Image.fromarray(noise(8, 64, 64)), format)
    decode_rgb(data)
    with pytest.raises(UnreadableError):
        decode_rgb(data[: int(len(data) * cut)])


@pytest.mark.parametrize(
    "data", [b"", b"just some text\n", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\xff\xd8\xff"]
)
def test_other_files_are_unreadable_in_plain_words(data: bytes) -> None:
    with pytest.raises(UnreadableError) as caught:
        decode_rgb(data)
    assert "0x" not in str(caught.value)  # no memory addresses, so the message is always the same
    assert "\n" not in str(caught.value)


def test_floating_point_tiff_is_unreadable() -> None:
    data = encode(Image.fromarray(np.ones((4, 4), dtype=np.float32)), "TIFF")
    with pytest.raises(UnreadableError, match="unknown range"):
        decode_rgb(data)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bomb_is_refused_before_it_is_decoded() -> None:
    # Between one and two times Pillow's limit, for which Pillow itself would only warn.
    with pytest.raises(UnreadableError, match=r"decompression bomb.*12000 x 12000"):
        decode_rgb(encode(Image.new("1", (12000, 12000))))


def test_a_thin_image_that_would_resize_into_a_bomb_is_rejected() -> None:
    with pytest.raises(UnreadableError, match="bomb"):
        resize_square(np.zeros((1, 5000, 3), dtype=np.uint8), 256)
