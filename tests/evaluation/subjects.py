"""Subjects of protocols: toy backbones and stores, without a run."""

from __future__ import annotations

from pathlib import Path

import torch

from clever.backbones import Backbone, BackboneOptions, build_backbone
from clever.data import Store
from clever.evaluation.subject import RunPredictor, Subject
from clever.results.records import Record, RunIdentity

RUN = RunIdentity("toy", "table", "dino+clever", "caug", 0, "abc", "digest", "sum")


def subject_of(
    backbone: Backbone,
    store: Store,
    *,
    ir_dim: int | None = None,
    identity: RunIdentity = RUN,
    seed: int = 0,
    state_folder: Path | None = None,
    predictor: RunPredictor | None = None,
) -> Subject:
    """A subject on the CPU."""
    return Subject(backbone, ir_dim, store, identity, torch.device("cpu"), seed, state_folder, predictor)


def build(name: str, image_size: int) -> Backbone:
    """An untrained backbone."""
    return build_backbone(BackboneOptions(name=name, image_size=image_size), seed=0).eval()


def by_axes(records: list[Record]) -> dict[tuple[str, str, str], float]:
    """Values by part, perturbation and metric, for ``last`` only."""
    found = {(r.part, r.perturbation, r.metric): r.value for r in records if r.selection == "last"}
    assert len(found) == sum(r.selection == "last" for r in records)
    return found
