"""Compare the study's protocols on GPU and CPU: the same untrained backbone, images and records."""

from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path

import torch

from clever.backbones import BackboneOptions, build_backbone
from clever.data import DataOptions, Store, prepare
from clever.evaluation import PROTOCOLS
from clever.evaluation.subject import Subject
from clever.gpu_check.findings import Findings, attempt, step_parser
from clever.results.records import Record, RunIdentity

OPTIONS = {
    "linear": {"epochs": 5, "training_views": 2, "standardise": True, "perturbations": ["orig", "cj", "cj_rot_et"]},
    "knn": {"perturbations": ["orig", "cj_rot"], "neighbours": [20]},
    "parameters": {"targets": ["angle", "flip", "crop_x", "crop_area", "brightness"]},
}
PERCENT, SHARE = 4.0, 0.05
"""Largest allowed difference of an accuracy, in percent of 200 images, and of an r2."""


def records_on(device: torch.device, protocol: str, store: Store) -> list[Record]:
    """All records of a protocol for an untrained backbone, split into IR and EF."""
    known = PROTOCOLS[protocol]
    backbone = build_backbone(BackboneOptions(name="resnet10t_half", image_size=32), seed=0)
    identity = RunIdentity("digits", "resnet10t_half", "untrained", "none", 0, "", "", store.checksum)
    options = known.options.model_validate(OPTIONS[protocol])
    ir_dim = backbone.feature_dim * 4 // 5
    return known.evaluate(Subject(backbone, ir_dim, store, identity, device, seed=0), options)


def _key(record: Record) -> tuple[str, ...]:
    return record.protocol, record.part, record.perturbation, record.metric, record.selection


def compare(protocol: str, store: Store, device: torch.device, findings: Findings) -> None:
    """Measure the largest difference between the records of both devices."""
    expected = {_key(record): record.value for record in records_on(torch.device("cpu"), protocol, store)}
    measured = records_on(device, protocol, store)
    for unit, bound, chosen in (("percent", PERCENT, False), ("", SHARE, True)):
        apart = [
            abs(found.value - expected[_key(found)]) for found in measured if found.metric.startswith("r2") == chosen
        ]
        if apart:
            what = f"{protocol}: largest difference of {len(apart)} records, {device.type} against cpu"
            findings.row(what + (", r2" if chosen else ""), max(apart), unit, "", bound, True)


def main() -> int:
    """Compare every protocol of the study."""
    arguments = step_parser(__doc__).parse_args()
    findings, ended = Findings(arguments.findings), []
    with tempfile.TemporaryDirectory() as folder:
        options = DataOptions(source="digits", train_limit=400, test_limit=200)
        store = prepare(options, Path(folder) / "digits", progress=False)
        for protocol in OPTIONS:
            work = functools.partial(compare, protocol, store, torch.device(arguments.device), findings)
            ended.append(attempt(findings, protocol, work))
    return 0 if all(ended) else 1


if __name__ == "__main__":
    sys.exit(main())
