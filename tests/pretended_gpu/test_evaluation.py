"""Every protocol on the pretended GPU gives the CPU's records, and waits for the device in known places only."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from clever.backbones import BackboneOptions, build_backbone
from clever.data import Store
from clever.evaluation import PROTOCOLS
from clever.evaluation.subject import Subject
from clever.options import parse
from clever.results.records import Record, RunIdentity

from ..declared import declared
from .gpu import DEVICE, pretended_gpu

BATCHES = {
    "data/loading.py:_upload": "a split's pixels go to the device once",
    "data/loading.py:Batches.__init__": "and its labels and latents",
    "data/loading.py:Batches._from_device": "the order of an epoch",
    "data/store.py:ImageBatch.to.<locals>.<genexpr>": "the sizes of a batch",
}
FEATURES = BATCHES | {
    "evaluation/features.py:FeatureExtractor.__init__": "the backbone goes to the device",
    "evaluation/features.py:FeatureExtractor.extract": "the features of a batch go to the host",
    "evaluation/features.py:FeatureExtractor._require_finite": "whether features are finite, once a view",
    "evaluation/features.py:FeatureExtractor._features": "which images a batch holds, to draw their views",
    "augmentation/perturbations.py:perturbation_parameters": "which images a batch holds, to draw what changes them",
    "augmentation/perturbations.py:perturb": "what was drawn for a batch",
    "augmentation/probe.py:probe_views": "what was drawn for a batch",
    "augmentation/elastic.py:_smoothing": "a matrix that is made once",
    "augmentation/constants.py:constant": "numbers that are brought once",
}

ROOM = "evaluation"


def rehearsals(protocol: str) -> list[tuple[str, dict[str, Any]]]:
    """The backbones and options with which a protocol is rehearsed; by default, one backbone and the protocol's
    defaults.

    A protocol's test file overrides this with ``REHEARSALS = [(backbone, options), …]`` or ``NOT_REHEARSED = reason``.
    """
    if declared(ROOM, protocol, "NOT_REHEARSED"):
        return []
    return declared(ROOM, protocol, "REHEARSALS") or [("resnet10t_half", {})]


def waits(protocol: str) -> dict[str, str]:
    """Places where a protocol waits in addition to ``FEATURES``, with the reason; except for ``logistic``, none waits
    in every step.

    A protocol's test file declares them with ``WAITS = {place: why}``, and with ``WAITS_OF`` if it contains other
    protocols.
    """
    found: dict[str, str] = dict(declared(ROOM, protocol, "WAITS") or {})
    for other in declared(ROOM, protocol, "WAITS_OF") or ():
        found |= waits(other)
    return found


CASES = [(protocol, name, options) for protocol in PROTOCOLS for name, options in rehearsals(protocol)]


@pytest.mark.parametrize(("protocol", "name", "options"), CASES, ids=lambda value: value if value is not None else "")
def test_a_protocol_gives_the_cpu_s_records(
    protocol: str, name: str, options: dict[str, Any], digits_store: Store, photographs: Store
) -> None:
    kind = PROTOCOLS[protocol]
    store = photographs if kind.needs_latents or kind.needs_objects else digits_store
    patch = {"patch_size": 8} if name == "vit_micro" else {}
    backbone = build_backbone(BackboneOptions(name=name, image_size=16, **patch), seed=0)
    ir_dim = backbone.feature_dim // 4 * 3
    chosen = parse(PROTOCOLS[protocol].options, options, "the options")
    identity = RunIdentity("data", "backbone", "method", "none", 0, data_checksum=store.checksum)

    def records(device: Any) -> list[Record]:
        subject = Subject(copy.deepcopy(backbone), ir_dim, store, identity, torch.device(device), 0)
        return PROTOCOLS[protocol].evaluate(subject, chosen)

    expected = records("cpu")
    with pretended_gpu() as gpu, gpu.waits_forbidden(FEATURES | waits(protocol)):
        found = records(DEVICE)
    assert [(r.part, r.perturbation, r.metric) for r in found] == [(r.part, r.perturbation, r.metric) for r in expected]
    # One image in 32 may change its class, because features are rounded to bfloat16.
    tolerance = 7.0 if chosen.precision == "bf16" else 1e-3
    assert [r.value for r in found] == pytest.approx([r.value for r in expected], abs=tolerance)


def test_protocols_that_are_not_rehearsed_give_a_reason() -> None:
    rehearsed = {case[0] for case in CASES}
    assert rehearsed >= {"linear", "knn", "semi", "transfer", "parameters", "equivariance", "quality", "latents"}
    for protocol in set(PROTOCOLS) - rehearsed:
        reason = declared(ROOM, protocol, "NOT_REHEARSED")
        assert reason.startswith("it "), protocol
        assert declared(ROOM, protocol, "REHEARSALS") is None, f"{protocol} both is rehearsed and is not"
