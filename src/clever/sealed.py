"""JSON objects with a checksum of their own content, so that a changed file is detected without a second file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from clever.errors import UserError

KEY = "content_sha256"


def content_sha256(content: Mapping[str, Any]) -> str:
    """SHA-256, in hexadecimal, of the canonical JSON (sorted keys, no spaces) of all but the checksum itself."""
    rest = {key: value for key, value in content.items() if key != KEY}
    # A JSON round trip turns tuples into lists and numeric keys into text, as in the file.
    text = json.dumps(json.loads(json.dumps(rest)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``content`` with its checksum under ``content_sha256``."""
    return {**content, KEY: content_sha256(content)}


def check_seal(content: Mapping[str, Any], where: object, remedy: str) -> None:
    """Compare an object that was read from a file with the checksum in it.

    Args:
        content: the object.
        where: the file, for the message.
        remedy: what to do, for the message.

    Raises:
        UserError: the checksum is missing, or the content has changed since it was written.
    """
    recorded = content.get(KEY)
    if not isinstance(recorded, str):
        raise UserError(f"{where}: damaged, the key {KEY} is missing; {remedy}")
    found = content_sha256(content)
    if found != recorded:
        raise UserError(
            f"{where}: was changed or damaged: the SHA-256 of its content is {found[:12]}, {KEY} says "
            f"{recorded[:12]}; {remedy}"
        )
