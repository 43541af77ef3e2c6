"""A tiny run on real digits that all tries share, once finished and once half-trained, and the commands that run it."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clever.data import DataOptions
from clever.pretraining.recipe import RunRecipe
from faults.job import Job, Preparation
from faults.row import expect

EPOCHS, STEPS = 3, 4
TOTAL = EPOCHS * STEPS
DATA = {"source": "digits", "image_size": 16, "train_limit": 64, "test_limit": 32}
OUTPUTS = ("backbone.safetensors", "metrics.csv", "run.json")
OFTEN = 1e-6
"""Seconds between saved states; small enough to save after every step."""


def make_recipe(optimisation: Mapping[str, Any] | None = None, seed: int = 0) -> RunRecipe:
    """12 steps of DINO with CLeVER on 64 digits of 16 px, with an online probe after every epoch."""
    steps = {"epochs": EPOCHS, "batch_size": 16, "warmup_epochs": 1, "learning_rate": 0.01}
    return RunRecipe.model_validate(
        {
            "data": "digits",
            "backbone_name": "tiny",
            "backbone": {"name": "resnet10t_half", "image_size": 16},
            "method_name": "dino+clever",
            "method": {
                "baseline": {"name": "dino", "out_dim": 64, "hidden_dim": 32, "bottleneck_dim": 16},
                "equivariance": {"name": "clever"},
            },
            "augmentation_name": "caug",
            "augmentation": {"name": "caug", "global_size": 16, "local_size": 8, "local_views": 2},
            "optimisation": steps | dict(optimisation or {}),
            "seed": seed,
            "online_probe": {"every": 1, "passes": 2},
        }
    )


@dataclass(frozen=True)
class Bench:
    """The folders that every try may read but must not change."""

    folder: Path
    can_mount: bool
    """Whether file systems can be mounted here (as root), to get a disk that is really full or read-only."""

    @property
    def store(self) -> Path:
        """The prepared digits."""
        return self.folder / "store"

    @property
    def reference(self) -> Path:
        """The finished, undisturbed run."""
        return self.folder / "reference"

    @property
    def halfway(self) -> Path:
        """The same run, stopped with its two newest states in place."""
        return self.folder / "halfway"

    def make(self) -> None:
        """Prepare the digits, then train the run twice: once to its end and once halfway."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.prepare(DATA, self.store, self.folder).must_end(0)
        self.pretrain(self.reference).must_end(0)
        job = self.pretrain(self.halfway, every=OFTEN)
        job.wait_until(lambda: newest(self.halfway) >= TOTAL // 2, "a state")
        job.signal(signal.SIGTERM)
        job.must_end(75)

    def prepare(self, options: Mapping[str, Any], store: Path, folder: Path, prepare: Preparation | None = None) -> Job:
        """Start ``clever prepare``; its log is in ``folder``."""
        content = DataOptions.model_validate(options).canonical()
        log = folder / f"prepare.{len(list(folder.glob('prepare.*')))}.log"
        return Job(["prepare", "--options", content, "--output", store], log, prepare)

    def pretrain(
        self,
        output: Path,
        recipe: RunRecipe | None = None,
        *,
        every: float = 300,
        prepare: Preparation | None = None,
        fresh: bool = False,
        store: Path | None = None,
        keep_state: bool = False,
    ) -> Job:
        """Start ``clever pretrain`` for the run; its log is next to the output."""
        content = (recipe or make_recipe()).canonical()
        words = ["pretrain", "--recipe", content, "--store", store or self.store, "--output", output]
        words += ["--device", "cpu", "--threads", "1", "--state-every", f"{every:.6f}"]
        words += ["--keep-state"] if keep_state else []
        log = output.with_name(f"{output.name}.{len(list(output.parent.glob(f'{output.name}.*.log')))}.log")
        log.touch()
        return Job(words, log, prepare, fresh)

    def copy_halfway(self, folder: Path) -> Path:
        """A copy of the half-trained run."""
        output = folder / "run"
        shutil.copytree(self.halfway, output)
        return output

    def must_equal_reference(self, output: Path, reference: Path | None = None) -> None:
        """Check that the run's files exist, with the same weights (bit for bit) and metrics as the undisturbed run."""
        for name in OUTPUTS:
            expect((output / name).exists(), f"{name} is missing")
        right = reference or self.reference
        found, wanted = (sha256(folder / "backbone.safetensors") for folder in (output, right))
        expect(found == wanted, f"sha256 of backbone.safetensors is {found[:12]}, undisturbed it is {wanted[:12]}")
        expect(metrics(output) == metrics(right), "metrics.csv differs from the undisturbed run's")
        json.loads((output / "run.json").read_text(encoding="utf-8"))

    def must_go_on(self, output: Path, at: int | None = None) -> str:
        """Start the run again: it must resume (at step ``at``, if given) and end with the undisturbed run's weights."""
        job = self.pretrain(output)
        line = job.must_end(0, *([f"resumes at step {at} of {TOTAL}"] if at else []))
        self.must_equal_reference(output)
        return line


def newest(output: Path) -> int:
    """The step of the newest state; 0 if there is none."""
    return max((int(path.name.split("-")[1]) for path in (output / "state").glob("state-*.pt")), default=0)


def states(output: Path) -> list[Path]:
    """The states, newest first."""
    return sorted((output / "state").glob("state-*.pt"), reverse=True)


def metrics(folder: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv, without the training speed."""
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [{k: v for k, v in row.items() if k != "images_per_second"} for row in csv.DictReader(file)]


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
