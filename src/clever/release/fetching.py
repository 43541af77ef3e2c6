"""Download a backbone of a release, and check it: ``clever fetch``."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from clever.errors import UserError
from clever.files import expanded
from clever.new_folder import new_folder, require_new_folder
from clever.release.download import Place
from clever.release.manifest import MANIFEST, Asset, Manifest, parse_manifest

RELEASE = "CLEVER_RELEASE"
"""Environment variable with the location of a release, for calls without ``--from``."""

_MANIFEST_LIMIT = 4_000_000
_EXPECTED = ("clever.json", "README.md", "config.json", "model.safetensors", "backbone.safetensors")
"""Files of an export; an archive with any other file is rejected."""


def read_manifest(place: str) -> Manifest:
    """Read the manifest of a release.

    Args:
        place: see ``Place``.

    Raises:
        UserError: the manifest cannot be read, or is damaged.
    """
    release = Place(place, MANIFEST)
    content = b"".join(release.read(MANIFEST, _MANIFEST_LIMIT))
    return parse_manifest(content, release.where(MANIFEST))


def fetch(name: str, place: str, to: str | Path | None = None) -> Path:
    """Download the backbone ``name`` of a release into a folder that ``clever.load`` and timm read.

    The archive must have the size and the SHA-256 that the manifest states. The folder appears complete or not at all.

    Args:
        name: name of the backbone, or the id of its run.
        place: location of the release: a folder, ``file://`` or ``https://``.
        to: the folder to write; it must not exist, or be empty. None: the backbone's name, in the working folder.

    Returns:
        The folder.

    Raises:
        UserError: the manifest has no such name; a file cannot be read, has another size or SHA-256; or the folder
            exists or cannot be written.
    """
    release = Place(place, MANIFEST)
    asset = read_manifest(place).asset(name, release.where(MANIFEST))
    target = expanded(asset.name if to is None else to)
    require_new_folder(target)
    with new_folder(target) as partial:
        archive = partial / "archive"
        _download(release, asset, archive)
        _unpack(archive, partial, release.where(asset.file))
        archive.unlink()
    return target


def _download(release: Place, asset: Asset, archive: Path) -> None:
    digest, where = hashlib.sha256(), release.where(asset.file)
    with archive.open("wb") as file:
        for piece in release.read(asset.file, asset.bytes):
            digest.update(piece)
            file.write(piece)
        size = file.tell()
    if size != asset.bytes:
        raise UserError(f"{where}: has {size:,} bytes, but the manifest says {asset.bytes:,}; fetch it again")
    if digest.hexdigest() != asset.sha256:
        raise UserError(
            f"{where}: its SHA-256 is {digest.hexdigest()[:12]}, but the manifest says {asset.sha256[:12]}; it was "
            "changed or damaged"
        )


def _unpack(archive: Path, folder: Path, where: str) -> None:
    """Unpack the plain files of an export, writing nothing outside the folder and no more bytes than the archive
    holds."""
    try:
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                if entry.filename not in _EXPECTED or entry.compress_type != zipfile.ZIP_STORED:
                    raise UserError(f"{where}: holds {entry.filename!r}, which is no file of an exported backbone")
            for entry in packed.infolist():
                (folder / entry.filename).write_bytes(packed.read(entry))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{where}: is not an archive of a backbone ({error})") from error
