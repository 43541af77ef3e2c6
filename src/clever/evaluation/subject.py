"""The subject of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from clever.backbones import Backbone
from clever.data import Store
from clever.results.records import RunIdentity


@dataclass(frozen=True)
class Subject:
    """A finished run's backbone with the data and the device that it is evaluated on.

    ``ir_dim`` is the width of the invariant representation within the backbone's output, None if the backbone was
    trained without a split. ``state_folder`` is where an evaluation that trains for long keeps its state, None if
    no state is kept. ``notes`` go into the evaluation's provenance.
    """

    backbone: Backbone
    ir_dim: int | None
    store: Store
    identity: RunIdentity
    device: torch.device
    seed: int
    state_folder: Path | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def note(self, key: str, value: Any) -> None:
        """Save a JSON value with the records, such as the ids of chosen images."""
        self.notes[key] = value
