"""The GPU results that are committed, and those that are rejected."""

from __future__ import annotations

import gzip
import json
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from clever.errors import UserError
from clever.gpu_check.install import card_name, install, without_places
from clever.results import records
from clever.results.curves import CURVE_COLUMNS, write_curves
from clever.results.run_description import write_runs

MACHINE = {"gpu": "NVIDIA H100 80GB HBM3", "processor": "x", "cores": 16, "torch": "2.11.0", "python": "3.12.3"}
IDENTITY = records.RunIdentity("cifar10", "resnet18", "simclr", "caug", 0, "c" * 40, "d" * 16, "e" * 64)


def write_call(folder: Path, seed: int, **changed: Any) -> Path:
    identity = replace(IDENTITY, seed=seed)
    record = identity.record(protocol="knn", part="ALL", perturbation="orig", metric="top1", value=50.0 + seed, n=9)
    table = pd.DataFrame([astuple(record)], columns=list(records.COLUMNS))
    records.write_records(table, folder / "records.csv")
    axes = (identity.data, identity.backbone, identity.method, identity.augmentation, seed)
    curve = pd.DataFrame([(identity.run, *axes, 0, "loss", 1.5)], columns=list(CURVE_COLUMNS))
    write_curves(curve, folder / "curves.csv")
    (folder / "curves.csv.gz").write_bytes(gzip.compress((folder / "curves.csv").read_bytes()))
    write_runs([{"run": identity.run}], folder / "runs.json")
    row = {"what": "whole runs", "value": 1, "unit": "runs", "reference": "cifar10_gpu", "goal": None, "met": None}
    step = {
        "name": "study",
        "section": "study",
        "status": "done",
        "seconds": 1.0,
        "rows": [row],
        "facts": {},
        "log": "",
    }
    results = {"commit": "c" * 40, "dirty": False, "date": "2026-01-01", "machine": MACHINE, "minutes": 9.0}
    results |= {"rehearsal": False, "decision": None, "seconds": 500.0, "steps": [step]} | changed
    (folder / "results.json").write_text(json.dumps(results))
    return folder


@pytest.mark.parametrize(
    ("gpu", "name"), [("NVIDIA H100 80GB HBM3", "h100"), ("NVIDIA A100-SXM4-40GB", "a100"), ("Tesla T4", "t4")]
)
def test_the_folder_is_named_after_the_gpu(gpu: str, name: str) -> None:
    assert card_name(gpu) == name


def test_two_calls_with_different_seeds_are_joined(tmp_path: Path) -> None:
    folders = [write_call(tmp_path / str(seed), seed) for seed in (0, 1)]
    install(folders, tmp_path / "measured")
    joined = records.read_records(tmp_path / "measured" / "cifar10_gpu" / "records.csv")
    assert joined.value.tolist() == [50.0, 51.0]
    runs = json.loads((tmp_path / "measured" / "cifar10_gpu" / "runs.json").read_text())
    assert [run["run"] for run in runs] == joined.run.tolist()
    assert sorted(path.name for path in (tmp_path / "measured" / "cifar10_gpu").iterdir()) == [
        "SHA256SUMS", "curves.csv.gz", "records.csv", "runs.json",
    ]  # fmt: skip
    assert (tmp_path / "measured" / "gpu_h100" / "report_2.md").exists()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"dirty": True}, "changed: True"),
        ({"dirty": None}, "CLEVER_DIRTY"),
        ({"commit": "unknown"}, "only a known commit"),
        ({"rehearsal": True}, "a rehearsal on a CPU"),
    ],
)
def test_irreproducible_results_are_rejected(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        install([write_call(tmp_path / "call", 0, **changed)], tmp_path / "measured")
    assert not (tmp_path / "measured").exists()


def test_calls_of_different_commits_are_not_joined(tmp_path: Path) -> None:
    folders = [write_call(tmp_path / "a", 0), write_call(tmp_path / "b", 1, commit="f" * 40)]
    with pytest.raises(UserError, match="differ in commit"):
        install(folders, tmp_path / "measured")


def test_logs_of_failed_steps_name_no_folder_of_the_machine() -> None:
    packaged = 'File "/srv/some/lib/python3.12/site-packages/torch/nn/module.py", line 9'
    log = f'{packaged}\nFile "/srv/some/src/clever/cli.py", line 1\n/scratch/a/b/c.py:3 10 images/s and/or 5'
    results = {"steps": [{"log": log}, {"log": None}]}
    without_places(results)
    expected = (
        'File "site-packages/torch/nn/module.py", line 9\nFile "src/clever/cli.py", line 1\nc.py:3 10 images/s and/or 5'
    )
    assert [step["log"] for step in results["steps"]] == [expected, ""]
