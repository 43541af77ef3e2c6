"""The state of an evaluation that trains for long: one file, whole or absent, which fits one evaluation only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from clever.errors import UserError
from clever.files import replacing

FORMAT = 1


class ResumableState:
    """Saves and restores what an evaluation needs to go on after it was killed.

    The payload holds tensors, numbers, strings and containers of them, and is read with ``weights_only``.

    Args:
        path: the file; its folder is made when it is missing.
        identity: what the state belongs to (run, protocol, options, data). A state of anything else is ignored, for
            its options were changed since: the evaluation then begins again.
    """

    def __init__(self, path: Path, identity: Mapping[str, str]) -> None:
        self.path = path
        self.identity = dict(identity)

    def save(self, payload: Mapping[str, Any]) -> None:
        """Write the state in place of the one before.

        Raises:
            UserError: it could not be written; the state before it is untouched.
        """
        content = {"format": FORMAT, "identity": self.identity, "payload": dict(payload)}
        # Through a file of Python's, whose OSError says why a write fails; torch's own writer says only that it did.
        with replacing(self.path) as temporary, temporary.open("wb") as file:
            torch.save(content, file)

    def load(self, device: torch.device | str = "cpu") -> dict[str, Any] | None:
        """The payload with its tensors on ``device``; None when there is none for this identity.

        Raises:
            UserError: the file is damaged or is no state.
        """
        if not self.path.exists():
            return None
        try:
            content = torch.load(self.path, map_location=device, weights_only=True)
            identity, payload, form = content["identity"], content["payload"], content["format"]
        except Exception as error:  # an unpickler raises many kinds; all mean the same
            raise UserError(
                f"{self.path}: damaged, or no state of an evaluation ({type(error).__name__}); delete it to begin again"
            ) from error
        return dict(payload) if form == FORMAT and identity == self.identity else None

    def clear(self) -> None:
        """Delete the state, if there is one."""
        self.path.unlink(missing_ok=True)
