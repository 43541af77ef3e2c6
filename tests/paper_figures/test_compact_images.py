"""Images for a page: photographs are reduced, and masks are kept pixel by pixel."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from compact_images import LARGEST_SIDE, compact
from numpy.typing import NDArray
from PIL import Image

from clever.errors import UserError


def address(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def opened(text: str) -> tuple[str, NDArray[np.uint8]]:
    image = Image.open(io.BytesIO(base64.b64decode(text.partition(",")[2])))
    return str(image.format), np.asarray(image.convert("RGBA"))


def photograph(height: int, width: int) -> NDArray[np.uint8]:
    """An opaque image with smooth colours and a little noise."""
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    colours = np.stack([rows, columns, rows * columns, np.ones_like(rows)], axis=2)
    noise = np.random.default_rng(0).normal(0, 0.02, colours.shape)
    noise[..., 3] = 0
    return (255 * np.clip(colours + noise, 0, 1)).round().astype(np.uint8)


def test_a_photograph_becomes_a_small_jpeg() -> None:
    pixels = photograph(200, 300)
    text = address(pixels)
    shorter = compact(text)
    kind, shown = opened(shorter)
    assert kind == "JPEG"
    assert shown.shape == (85, LARGEST_SIDE, 4)
    assert len(shorter) < len(text) / 10
    expected = np.asarray(Image.fromarray(pixels).convert("RGB").resize((128, 85), Image.Resampling.BOX))
    assert np.abs(shown[..., :3].astype(float) - expected).mean() < 5
    assert compact(text) == shorter


def test_a_mask_keeps_its_exact_colours() -> None:
    mask = np.zeros((40, 60, 4), np.uint8)
    mask[..., 3] = 255
    mask[10:30, 5:50] = 255
    kind, shown = opened(compact(address(mask)))
    assert kind == "PNG"
    assert np.array_equal(shown, mask)
    large = np.repeat(np.repeat(mask, 8, axis=0), 8, axis=1)
    kind, shown = opened(compact(address(large)))
    assert kind == "PNG"
    assert set(np.unique(shown)) == {0, 255}
    assert shown.shape == (85, 128, 4)


def test_transparent_pixels_are_kept() -> None:
    pixels = photograph(50, 50)
    pixels[:10, :, 3] = 0
    kind, shown = opened(compact(address(pixels)))
    assert kind == "PNG"
    assert np.array_equal(shown[..., 3], pixels[..., 3])


def test_an_image_that_would_not_become_smaller_is_kept() -> None:
    text = address(np.full((1, 1, 3), 7, np.uint8))
    assert len(compact(text)) <= len(text)


def test_other_data_are_refused() -> None:
    with pytest.raises(UserError, match="an image of a figure: not a PNG"):
        compact("data:image/png;base64,bm90aGluZw==")
