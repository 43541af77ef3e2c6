"""Every benchmark runs at a tiny size and prints consistent JSON. Speed itself is not tested here."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
COMMON = ("--device", "cpu", "--threads", "1", "--rounds", "1")


def run(name: str, *flags: str) -> dict[str, Any]:
    command = [sys.executable, str(FOLDER / f"{name}.py"), *flags, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["machine"]["torch"]
    return report


def values(report: dict[str, Any]) -> dict[str, float]:
    found = {row["what"]: row["value"] for row in report["rows"]}
    assert all(math.isfinite(value) for value in found.values())
    return found


def test_losses() -> None:
    found = values(run("losses", *COMMON, "--images", "8", "--outputs", "4096"))
    assert found["relative difference of the loss"] < 1e-5
    assert found["largest difference of a gradient, of its largest entry"] < 1e-5
    gradients = 20 * 8 * 4096 * 4 / 2**20  # both candidates make these
    assert found["peak memory of double_loop"] > found["peak memory of one_sweep"] > 0.9 * gradients


def test_training_step() -> None:
    flags = ("--views", "two", "--backbone", "test_vit", "--images", "4", "--outputs", "64")
    report = run("training_step", *COMMON, *flags)
    found = values(report)
    shares = {name.removeprefix("share of "): value for name, value in found.items() if name.startswith("share of ")}
    assert shares.keys() == {
        "augmentation", "backbone forward", "heads and losses forward", "backward", "optimiser", "moving average",
    }  # fmt: skip
    assert sum(shares.values()) == pytest.approx(1)
    assert report["rows"][0]["goal"] == "at most 1.15"
    assert report["settings"]["images"] == 4


def test_epoch() -> None:
    pytest.importorskip("lightly")
    flags = ("--backbone", "resnet10t_half", "--images", "8", "--batch", "4", "--outputs", "64", "--workers", "0")
    found = values(run("epoch", *COMMON, *flags))
    ratio = found["source images per second, ours"] / found["source images per second, lightly"]
    assert found["speed-up of an epoch, resnet10t_half, 8 images of 32 px, batch 4, fp32"] == pytest.approx(ratio)


def test_augmentation() -> None:
    report = run("augmentation", "--case", "small_caug", "--rounds", "1", "--threads", "1", "--no-kornia")
    assert {result["contender"] for result in report["results"]} == {"ours", "pillow"}


def test_backbones() -> None:
    report = run("backbones", "--rounds", "1")
    assert all(comparison["ratio"] > 0 for comparison in report["comparisons"])


def test_startup() -> None:
    found = values(run("startup", *COMMON))
    assert len(found) == 3
    assert min(found.values()) > 0
