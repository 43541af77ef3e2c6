"""Which files of a folder are images, and what becomes of the others."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePath

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Files that count as images (upper or lower case): the list of torchvision's ``ImageFolder``."""

PICTURES = (".avif", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jxl")
"""Files that hold pictures but do not count, as in ``ImageFolder``: somebody may miss them."""

_JUNK_FOLDERS = ("__MACOSX", "@eaDir", ".AppleDouble", ".ipynb_checkpoints", ".Trashes", "$RECYCLE.BIN")
_JUNK_FILES = (".DS_Store", "Thumbs.db", "desktop.ini")


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is what a system or editor leaves behind, whatever it looks like.

    ``._x.jpg`` is macOS's second half of ``x.jpg``, without a picture; ``.ipynb_checkpoints`` holds stale copies.
    """
    return name.startswith("._") or name in _JUNK_FOLDERS or name in _JUNK_FILES


@dataclass
class Listing:
    """What a folder holds.

    ``images`` in ImageFolder's order; ``broken`` (path, reason) could not be entered; ``passed_over`` counts the other
    files by reason: their extension, ``no extension``, or ``left by a system or editor``.
    """

    images: list[Path] = field(default_factory=list)
    broken: list[tuple[Path, str]] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)


def list_images(folder: Path) -> Listing:
    """The image files below a folder, at any depth; symbolic links are followed."""
    found = Listing()
    visits: list[tuple[str, list[str]]] = []

    def failed(error: OSError) -> None:
        found.broken.append((Path(error.filename), error.strerror or "cannot be listed"))

    for parent, folders, files in os.walk(folder, followlinks=True, onerror=failed):
        # A link to a folder above itself would be walked forty times over, with each image as often.
        above = {os.path.realpath(path) for path in (Path(parent), *Path(parent).parents)}
        for name in list(folders):
            child = Path(parent, name)
            if is_junk(name):
                folders.remove(name)
                found.passed_over[JUNK] += sum(len(inner) for _, _, inner in os.walk(child))
            elif child.is_symlink() and os.path.realpath(child) in above:
                folders.remove(name)
                found.broken.append((child, "a symbolic link to a folder that contains it"))
        visits.append((parent, sorted(files)))
    for parent, files in sorted(visits):
        for name in files:
            if is_junk(name):
                found.passed_over[JUNK] += 1
            elif name.lower().endswith(EXTENSIONS):
                found.images.append(Path(parent, name))
            else:
                found.passed_over[PurePath(name).suffix.lower() or "no extension"] += 1
    found.broken.sort()
    return found


JUNK = "left by a system or editor"


def described(passed_over: dict[str, int]) -> str:
    """Counts by reason in words, the most first: ``3 .jfif, 2 left by a system or editor``."""
    ordered = sorted(passed_over.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {reason}" for reason, count in ordered)
