"""The state of a long-running evaluation: one file, complete or absent, valid only for one evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from clever.errors import UserError
from clever.files import replacing

FORMAT = 1


class ResumableState:
    """Saves and restores the state that an evaluation needs to resume after it was killed.

    The payload holds tensors, numbers, strings and containers of them, and is read with ``weights_only``.

    Args:
        path: the file; a missing folder is created.
        identity: identifies the evaluation (run, protocol, options, data). A state with another identity is ignored,
            because the options have changed, and the evaluation starts again.
    """

    def __init__(self, path: Path, identity: Mapping[str, str]) -> None:
        self.path = path
        self.identity = dict(identity)

    def save(self, payload: Mapping[str, Any]) -> None:
        """Write the state, replacing the previous one.

        Raises:
            UserError: the state could not be written; the previous one is unchanged.
        """
        content = {"format": FORMAT, "identity": self.identity, "payload": dict(payload)}
        # Use a Python file, whose OSError says why a write fails; torch's writer only reports the failure.
        with replacing(self.path) as temporary, temporary.open("wb") as file:
            torch.save(content, file)

    def load(self, device: torch.device | str = "cpu") -> dict[str, Any] | None:
        """The payload with its tensors on ``device``; None if there is no state with this identity.

        Raises:
            UserError: the file is damaged or is not a state.
        """
        if not self.path.exists():
            return None
        try:
            content = torch.load(self.path, map_location=device, weights_only=True)
            identity, payload, form = content["identity"], content["payload"], content["format"]
        except Exception as error:  # an unpickler raises many types of errors, which all mean the same
            raise UserError(
                f"{self.path}: damaged, or not an evaluation's state ({type(error).__name__}); delete it to begin again"
            ) from error
        return dict(payload) if form == FORMAT and identity == self.identity else None

    def clear(self) -> None:
        """Delete the state, if there is one."""
        self.path.unlink(missing_ok=True)
