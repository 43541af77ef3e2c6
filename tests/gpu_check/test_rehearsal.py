"""All of ``make gpu`` at tiny sizes on the CPU, and its message if there is no GPU."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch

from clever.gpu_check.install import install
from clever.results.records import read_records


def call(*flags: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "clever.gpu_check", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path: Path) -> None:
    done = call("--output", str(tmp_path / "out"))
    assert done.returncode == 2
    (line,) = done.stdout.splitlines()
    assert "no GPU found" in line
    assert "gpu-rehearsal" in line
    assert not (tmp_path / "out").exists()


def test_the_rehearsal_runs_every_step_and_leaves_few_complete_files(tmp_path: Path) -> None:
    done = call("--rehearse", "--output", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "curves.csv.gz", "log.txt", "profile.txt", "records.csv",
        "report.md", "rest.tar.gz", "results.json", "runs.json",
    ]  # fmt: skip

    results = json.loads((tmp_path / "results.json").read_text())
    steps = {step["name"]: step for step in results["steps"]}
    correctness = {"tests", "agreement", "waits", "resume", "evaluation"}
    assert steps.keys() == correctness | {"data", "fused_views", "vit", "sharing", "study"}
    assert {step["status"] for step in steps.values()} == {"done"}
    correct = [row for step in results["steps"] if step["section"] == "correctness" for row in step["rows"]]
    assert {row["met"] for row in correct if row["goal"]} == {True}
    assert "bottleneck" in steps["vit"]["facts"]

    # Every run of the small study is complete: four methods and two controls, with every protocol.
    found = read_records(tmp_path / "records.csv")
    runs = json.loads((tmp_path / "runs.json").read_text())
    assert {run["run"] for run in runs} == set(found.run) == set(steps["study"]["facts"]["runs"])
    assert set(found.method) == {"simclr", "simclr+clever", "simsiam", "simsiam+clever", "untrained"}
    assert found.groupby("run").protocol.nunique().min() == 4
    assert b"simsiam+clever" in gzip.decompress((tmp_path / "curves.csv.gz").read_bytes())
    with tarfile.open(tmp_path / "rest.tar.gz") as archive:
        names = archive.getnames()
    assert not [name for name in names if name.endswith((".safetensors", ".pt", ".npz"))]
    assert [name for name in names if name.endswith("seed0/linear.json")]

    with pytest.raises(Exception, match="a rehearsal on a CPU"):
        install([tmp_path], tmp_path / "measured")
    assert not (tmp_path / "measured").exists()
