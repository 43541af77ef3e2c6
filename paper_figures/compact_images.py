"""Images for a page: no larger than they are shown, photographs as JPEG and drawings with few colours as PNG."""

from __future__ import annotations

import base64
import io

from PIL import Image

from clever.parsing import foreign

LARGEST_SIDE = 128
"""Side in pixels; larger images are reduced. A picture in a figure is about an inch wide."""
QUALITY = 80
"""JPEG quality; Pillow advises 95 at most."""
_COLOURS = 256
_PNG = "data:image/png;base64,"


def compact(address: str) -> str:
    """A shorter data URI of an image that looks the same on the page.

    Args:
        address: a PNG, as ``data:image/png;base64,...``.

    Returns:
        A PNG or JPEG with sides of at most ``LARGEST_SIDE`` pixels, or ``address`` if it is not longer. Masks and other
        images with at most 256 colours keep their exact colours; images with transparent pixels stay PNG.

    Raises:
        UserError: ``address`` does not hold an image.
    """
    with foreign("an image of a figure", "not a PNG"):
        image = Image.open(io.BytesIO(base64.b64decode(address.removeprefix(_PNG)))).convert("RGBA")
    opaque = image.getchannel("A").getextrema() == (255, 255)
    if opaque:
        image = image.convert("RGB")
    exact = image.getcolors(_COLOURS) is not None
    if max(image.size) > LARGEST_SIDE:
        # Nearest-neighbour resampling adds no colours to an image that has few.
        filter_ = Image.Resampling.NEAREST if exact else Image.Resampling.LANCZOS
        scale = LARGEST_SIDE / max(image.size)
        image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), filter_)
    if exact and opaque:
        image = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=_COLOURS)
    kind, options = ("png", {"optimize": True}) if exact or not opaque else ("jpeg", {"quality": QUALITY})
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    shorter = f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return min(address, shorter, key=len)
