"""Decode image files into RGB pixels, and crop images of any size to squares."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from clever.data.pixel_limit import PIXEL_LIMIT

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF", "GIF")
"""The decoders of Pillow that are tried, regardless of the file's extension. EPS and similar formats are excluded,
because they would start other programs."""


class UnreadableError(Exception):
    """An image cannot be used; the message is a short reason."""


def decode_rgb(data: bytes) -> NDArray[np.uint8]:
    """Decode one image file into uint8 [H, W, 3].

    Greyscale, palette and CMYK become RGB as Pillow converts them; an alpha channel is dropped; 16-bit greyscale is
    scaled to 8 bits (Pillow alone would clip it to white). The EXIF orientation is ignored and only the first frame is
    read, as in torchvision's ``ImageFolder``, with which the published numbers were measured.

    Raises :class:`UnreadableError` for anything but a complete image of at most ``PIXEL_LIMIT`` pixels.
    """
    return decode(data)[0]


def decode(data: bytes) -> tuple[NDArray[np.uint8], int | None]:
    """Like :func:`decode_rgb`; also returns the brightest value of a 16-bit greyscale image before scaling, None for
    others."""
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            _refuse_bomb(image.height, image.width, "the image")
            image.load()
            brightest = int(np.asarray(image).max()) if _is_sixteen_bit(image) else None
            return np.asarray(to_rgb(image)), brightest
    except (UnreadableError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise UnreadableError("not an image in a known format") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableError(f"a decompression bomb: more than {PIXEL_LIMIT} pixels") from error
    except Exception as error:
        # Damaged files make Pillow's decoders raise almost any exception (OSError, SyntaxError, struct.error,
        # IndexError).
        raise UnreadableError(" ".join(str(error).split()) or type(error).__name__) from error


def resize_square(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize the shorter side to ``size`` (bicubic, antialiased) and crop the centre: uint8 [size, size, 3].

    Equals torchvision's ``Resize(size, BICUBIC)`` followed by ``CenterCrop(size)`` on a PIL image, bit for bit.
    """
    resized = _resize(pixels, *_shorter_side_to(pixels.shape[0], pixels.shape[1], size))
    # round() to even, as torchvision's center_crop.
    top = round((resized.shape[0] - size) / 2)
    left = round((resized.shape[1] - size) / 2)
    return resized[top : top + size, left : left + size]


def bound_shorter_side(pixels: NDArray[np.uint8], bound: int | None) -> NDArray[np.uint8]:
    """Shrink an image whose shorter side exceeds ``bound`` to a shorter side of ``bound`` (bicubic, antialiased)."""
    height, width = pixels.shape[:2]
    if bound is None or min(height, width) <= bound:
        return pixels
    return _resize(pixels, *_shorter_side_to(height, width, bound))


def _is_sixteen_bit(image: Image.Image) -> bool:
    # Pillow opens some 16-bit PNG and PGM files in mode "I"; for other formats (TIFF), the range of mode "I" is
    # unknown.
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in mode RGB, converted as :func:`decode_rgb` says.

    Raises:
        UnreadableError: pixels of 32 bits, whose range is unknown.
    """
    if _is_sixteen_bit(image):
        grey = np.asarray(image).astype(np.int64)
        return Image.fromarray(((grey + 128) // 257).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise UnreadableError(f"32-bit pixels (mode {image.mode}) of unknown range")
    if image.mode == "P" and "transparency" in image.info:
        # Gives the same colours as the direct conversion, without its warning.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _shorter_side_to(height: int, width: int, size: int) -> tuple[int, int]:
    # int() truncates the longer side, as torchvision does.
    short, long = sorted((height, width))
    other = int(size * long / short)
    return (size, other) if height <= width else (other, size)


def _resize(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    if pixels.shape[:2] == (height, width):
        return pixels
    _refuse_bomb(height, width, f"{pixels.shape[0]} x {pixels.shape[1]} pixels (height x width), which resized")
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def _refuse_bomb(height: int, width: int, what: str) -> None:
    if height * width > PIXEL_LIMIT:
        raise UnreadableError(f"a decompression bomb: {what} has {height} x {width} pixels, more than {PIXEL_LIMIT}")
