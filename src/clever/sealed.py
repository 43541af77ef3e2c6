"""JSON objects that carry a checksum of their own content, so that a changed file is known without a second one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from clever.errors import UserError

KEY = "content_sha256"


def content_sha256(content: Mapping[str, Any]) -> str:
    """SHA-256, in hexadecimal, of the canonical JSON (sorted keys, no spaces) of everything but the checksum itself."""
    rest = {key: value for key, value in content.items() if key != KEY}
    # Through the text and back: tuples become lists and numbers as keys text, as they are when the file is read.
    text = json.dumps(json.loads(json.dumps(rest)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` with its checksum under ``content_sha256``."""
    return {**content, KEY: content_sha256(content)}


def check_seal(content: Mapping[str, Any], where: object, remedy: str) -> None:
    """Compare an object, as it was read, with the checksum that it carries.

    Args:
        content: the object.
        where: the file, for the message.
        remedy: what to do, for the message.

    Raises:
        UserError: there is no checksum, or the content is not the one that was written.
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
