"""The largest accepted image; in a separate file, so that checking a study loads neither numpy nor Pillow."""

from __future__ import annotations

PIXEL_LIMIT = 89_478_485
"""Largest image in pixels, decoded or resized: the size from which Pillow warns of a decompression bomb. Pillow rejects
only images of twice this size, so a 12000 x 12000 image (432 MB decoded from a few hundred kB) would be accepted."""
