"""List the image files of a folder, and count the files that are ignored."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePath

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Extensions of image files (upper or lower case), the same as torchvision's ``ImageFolder``."""

_JUNK_FOLDERS = ("__MACOSX", "@eaDir", ".AppleDouble", ".ipynb_checkpoints", ".Trashes", "$RECYCLE.BIN")
_JUNK_FILES = (".DS_Store", "Thumbs.db", "desktop.ini")


def is_junk(name: str) -> bool:
    """Whether a file or folder with this name was left by a system or editor, regardless of its extension.

    ``._x.jpg`` holds macOS's metadata of ``x.jpg``, not a picture; ``.ipynb_checkpoints`` holds stale copies.
    """
    return name.startswith("._") or name in _JUNK_FOLDERS or name in _JUNK_FILES


@dataclass
class Listing:
    """The contents of a folder.

    ``images`` in ImageFolder's order; ``broken`` (path, reason) could not be entered; ``passed_over`` counts the
    ignored files by reason: their extension, ``no extension``, or ``left by a system or editor``.
    """

    images: list[Path] = field(default_factory=list)
    broken: list[tuple[Path, str]] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)


def list_images(folder: Path) -> Listing:
    """The image files below a folder, at any depth.

    Links are followed, but no folder is entered twice: n links within linked folders could create 2**n paths.
    """
    found = Listing()
    visits: list[tuple[str, list[str]]] = []
    entered: dict[str, Path] = {}

    def failed(error: OSError) -> None:
        found.broken.append((Path(error.filename), error.strerror or "cannot be listed"))

    waiting = [folder]
    while waiting:
        links: list[Path] = []
        for parent, folders, files in os.walk(waiting.pop(0), onerror=failed):
            entered[os.path.realpath(parent)] = Path(parent)
            for name in list(folders):
                child = Path(parent, name)
                if is_junk(name):
                    folders.remove(name)
                    found.passed_over[JUNK] += sum(len(inner) for _, _, inner in os.walk(child))
                elif child.is_symlink():
                    links.append(child)
                elif os.path.realpath(child) in entered:
                    folders.remove(name)
                    found.broken.append((child, _second_way(folder, entered[os.path.realpath(child)])))
            visits.append((parent, sorted(files)))
        for link in sorted(links):
            real = os.path.realpath(link)
            if real in {os.path.realpath(path) for path in link.parents}:
                found.broken.append((link, "a symbolic link to a folder that contains it"))
            elif real in entered:
                found.broken.append((link, _second_way(folder, entered[real])))
            else:
                entered[real] = link
                waiting.append(link)
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


def _second_way(folder: Path, first: Path) -> str:
    return f"the same folder as {first.relative_to(folder.parent).as_posix()}, and its images would count twice"


JUNK = "left by a system or editor"


def described(passed_over: dict[str, int]) -> str:
    """Counts by reason as text, largest first: ``3 .jfif, 2 left by a system or editor``."""
    ordered = sorted(passed_over.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {reason}" for reason, count in ordered)
