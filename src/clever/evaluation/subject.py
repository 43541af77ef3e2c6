"""The subject of an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

import torch
from numpy.typing import NDArray
from torch import Tensor

from clever.backbones import Backbone
from clever.data import Store
from clever.evaluation.shared_features import SharedFeatures
from clever.results.records import Measured, Record, RunIdentity

PredictorFunction = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps features [N, D] and relative parameters [N, R] to the features' embeddings and the predicted embeddings, [N, E]
each."""


@dataclass(frozen=True)
class RunPredictor:
    """The predictor of a run.

    ``relative_names`` names the columns of the relative parameters that ``predict`` takes.
    """

    predict: PredictorFunction
    relative_names: tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """A finished run's backbone, with the data and the device on which it is evaluated.

    ``ir_dim`` is the width of the invariant representation within the backbone's output; None if the backbone was
    trained without a split. ``seed`` draws views, perturbations and initial weights. ``state_folder`` is the folder in
    which a long evaluation keeps its state; None keeps nothing. ``predictor`` is loaded only for a protocol that needs
    one; None if the run has none. ``variant`` follows the protocol's name in records, and begins with ``+`` unless it
    is empty. ``earlier`` are the backbones of the earlier runs of a chain, in order. ``features`` are shared by the
    protocols of one job; None if nothing is shared. ``notes`` are stored in the evaluation's provenance. ``pictures``,
    with JSON facts about them, are for figures (``clever.results.pictures``); only protocols that are registered with
    ``pictures`` fill them.
    """

    backbone: Backbone
    ir_dim: int | None
    store: Store
    identity: RunIdentity
    device: torch.device
    seed: int
    state_folder: Path | None = None
    predictor: RunPredictor | None = None
    variant: str = ""
    earlier: tuple[Backbone, ...] = ()
    features: SharedFeatures | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    picture_facts: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, NDArray[Any]] = field(default_factory=dict)

    def note(self, key: str, value: Any) -> None:
        """Save a JSON value with the records, such as the ids of chosen images."""
        self.notes[key] = value

    def record(self, **measured: Unpack[Measured]) -> Record:
        """A record of this run under the protocol's name, followed by the variant's."""
        record = self.identity.record(**measured)
        return replace(record, protocol=record.protocol + self.variant)
