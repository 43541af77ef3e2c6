"""The image files of a linked store, which are read in place instead of copied."""

from __future__ import annotations

import hashlib
from pathlib import Path

from clever.data.decoding import UnreadableError
from clever.data.source import FILE_LIMIT, SplitName, read_regular
from clever.errors import UserError
from clever.parsing import decode_json, foreign, read_text

LINKS = "{}_links.json"
"""Name of the list with the path (below the source's root) and the SHA-256 of each image file, in the order of the
split's rows."""


class Links:
    """The image files of one split, each compared with its checksum whenever it is read.

    The comparison costs little compared with decoding: about 0.1 ms for a JPEG of 100 kB.

    Args:
        root: the source's folder; the paths are relative to it.
        folder: the store's folder.
        name: name of the split.
        count: number of images in the split.

    Raises:
        UserError: the source's folder is missing, or the list of files is damaged.
    """

    def __init__(self, root: Path, folder: Path, name: SplitName, count: int) -> None:
        self.root, self.folder = root, folder
        if not root.is_dir():
            raise UserError(
                f"{root}: no such folder, but the store {folder} reads its images there (`linked: true`); "
                "move it back or put a link to it in its place, or prepare the data set again"
            )
        path = folder / LINKS.format(name)
        with foreign(path, "damaged", "prepare the data set again"):
            found = decode_json(read_text(path), path)
            entries = [(entry, digest) for entry, digest in found if isinstance(entry, str) and len(digest) == 64]
        if len(entries) != count:
            raise UserError(f"{path}: must hold path and checksum of {count} images; prepare the data set again")
        self._entries = entries

    def check(self, row: int, size: int) -> None:
        """Raise UserError unless the file is there and has ``size`` bytes."""
        path = self.root / self._entries[row][0]
        try:
            found = path.stat().st_size
        except OSError as error:
            raise self._changed(path, f"cannot be read ({error.strerror})") from error
        if found != size:
            raise self._changed(path, f"has {found} bytes, but had {size}")

    def read(self, row: int) -> bytes:
        """The bytes of one file. Raises UserError if it cannot be read or has changed."""
        relative, expected = self._entries[row]
        path = self.root / relative
        try:
            content = read_regular(path, FILE_LIMIT)
        except UnreadableError as error:
            raise self._changed(path, f"cannot be read ({error})") from error
        if hashlib.sha256(content).hexdigest() != expected:
            raise self._changed(path, "has changed")
        return content

    def _changed(self, path: Path, what: str) -> UserError:
        return UserError(
            f"{path}: {what} since the store {self.folder}, which links to it, was prepared; restore the file, or "
            "prepare the data set again"
        )
