"""The manifest of a release: which backbones it holds, and the SHA-256 of each file."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, PositiveInt, StringConstraints

from clever.errors import UserError
from clever.options import Options, nearest, parse
from clever.parsing import decode_json
from clever.sealed import KEY, check_seal

MANIFEST = "manifest.json"
"""File name of the manifest in the folder of a release."""

FORMAT: Final = 1

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
PlainName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")]
"""Letters, digits, '.', '_' and '-'. Release pages change other characters, and a name made of these cannot lead out of
a folder."""


class Asset(Options):
    """One backbone of a release."""

    name: PlainName
    """Its name for ``clever fetch``."""
    file: PlainName
    """File name of the archive, next to the manifest."""
    bytes: PositiveInt
    """Size of the archive in bytes."""
    sha256: Sha256
    """SHA-256 of the archive, in hexadecimal."""
    run: str
    """Id of the run."""
    git_commit: str | None
    """Commit of the code that trained it; None if unknown."""
    recipe_digest: str
    """Digest of its recipe."""


class Manifest(Options):
    """All backbones of a release."""

    format: Literal[1]
    """Version of this layout."""
    study: str
    """Name of the study."""
    assets: list[Asset] = Field(min_length=1)
    """The backbones, sorted by name."""

    def asset(self, name: str, where: str) -> Asset:
        """Find the backbone with a name or a run id.

        Raises:
            UserError: there is no such backbone; ``where`` names the manifest in the message.
        """
        for asset in self.assets:
            if name in (asset.name, asset.run):
                return asset
        raise UserError(f"{where}: has no backbone {name}{nearest(name, [asset.name for asset in self.assets])}")


def parse_manifest(text: bytes, where: str) -> Manifest:
    """Read a manifest.

    Args:
        text: the manifest's JSON.
        where: file or address, for messages.

    Raises:
        UserError: the text is not a manifest, or was changed.
    """
    content: Any = decode_json(text, where)
    if not isinstance(content, dict):
        raise UserError(f"{where}: a JSON object is expected")
    check_seal(content, where, "get the release again")
    return parse(Manifest, {key: value for key, value in content.items() if key != KEY}, where)
