"""Check that the files of a crate are those that its metadata describes, byte for byte."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from clever.errors import UserError
from clever.parsing import decode_json, foreign

METADATA = "ro-crate-metadata.json"
"""File that describes the others."""


def is_crate(path: Path) -> bool:
    """Whether a path is a folder with ``METADATA``, or a .zip file."""
    return (path / METADATA).is_file() or (path.suffix == ".zip" and path.is_file())


def check_crate(path: Path) -> list[str]:
    """Compare the files of a crate with its metadata.

    Every file has an entity with its size (``contentSize``) and SHA-256, every such entity has a file, and every
    reference leads to an entity or is an absolute address.

    Args:
        path: the crate's folder or .zip file.

    Returns:
        The paths of the described files, sorted.

    Raises:
        UserError: a file or entity is missing, unknown or different; the message names the first one.
    """
    with _opened(path) as files:
        if METADATA not in files:
            raise UserError(f"{path}: has no {METADATA}, so it is not an RO-Crate")
        entities = _entities(f"{path}: {METADATA}", _read(path, files[METADATA], METADATA))
        described = {
            unquote(address): entity for address, entity in entities.items() if _is_file(entity) and address != METADATA
        }
        for name in sorted(set(files) - set(described) - {METADATA}):
            raise UserError(f"{path}: {name} is not described in {METADATA}; remove it, or make the crate again")
        for name, entity in sorted(described.items()):
            if name not in files:
                raise UserError(f"{path}: {name} is missing, but {METADATA} describes it; copy the crate again")
            content = _read(path, files[name], name)
            _compare(path, name, "size", str(len(content)), entity.get("contentSize"))
            _compare(path, name, "SHA-256", hashlib.sha256(content).hexdigest(), entity.get("sha256"))
    return sorted(described)


def _entities(where: str, text: bytes) -> dict[str, dict[str, Any]]:
    content = decode_json(text, where)
    graph = content.get("@graph") if isinstance(content, dict) else None
    if not isinstance(graph, list) or not all(isinstance(e, dict) and isinstance(e.get("@id"), str) for e in graph):
        raise UserError(f"{where}: must have a @graph, a list of entities with an @id")
    found = {entity["@id"]: entity for entity in graph}
    if len(found) < len(graph):
        raise UserError(f"{where}: two entities have the same @id")
    for entity in graph:
        for target in _references(entity):
            if target not in found and not urlsplit(target).scheme:
                raise UserError(f"{where}: {entity['@id']} refers to {target}, which is not described")
    return found


def _references(entity: dict[str, Any]) -> Iterator[str]:
    for key, value in entity.items():
        if key.startswith("@"):
            continue
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                yield str(item.get("@id"))


def _is_file(entity: dict[str, Any]) -> bool:
    kinds = entity.get("@type")
    return "File" in (kinds if isinstance(kinds, list) else [kinds])


def _compare(path: Path, name: str, what: str, found: str, stated: object) -> None:
    if found != stated:
        raise UserError(f"{path}: {name}: its {what} is {found}, but {METADATA} says {stated}; copy the crate again")


@contextmanager
def _opened(path: Path) -> Iterator[dict[str, Any]]:
    """The files of a crate by their paths in it: something with ``read_bytes``."""
    if path.is_dir():
        yield {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
        return
    with foreign(path, "is not a readable .zip file"):
        archive = zipfile.ZipFile(path)
    with archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        yield {entry.filename: zipfile.Path(archive, entry.filename) for entry in entries}


def _read(path: Path, file: Any, name: str) -> bytes:
    with foreign(f"{path}: {name}", "cannot be read", "copy the crate again"):
        content: bytes = file.read_bytes()
    return content
