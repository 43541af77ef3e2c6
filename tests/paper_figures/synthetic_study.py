"""Synthetic records: invented numbers that no study produced, used only to test the scripts."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

SCRIPTS = Path(__file__).resolve().parents[2] / "paper_figures"

PERTURBATIONS = ("orig", "cj", "cj_flip", "cj_rot", "cj_rot_et")
COLLAPSED = "teacher collapsed to <one> output & more"


@dataclass(frozen=True)
class Study:
    """The three files of a synthetic study, and the data frames from which they were written."""

    folder: Path
    records: pd.DataFrame
    curves: pd.DataFrame
    runs: list[dict[str, Any]]

    @property
    def records_path(self) -> Path:
        return self.folder / "records.csv"

    @property
    def curves_path(self) -> Path:
        return self.folder / "curves.csv"

    @property
    def runs_path(self) -> Path:
        return self.folder / "runs.json"


MakeStudy = Callable[..., Study]


def write_study(
    folder: Path,
    *,
    data: str = "digits",
    backbones: Sequence[str] = ("resnet10t",),
    methods: Sequence[str] = ("dino", "dino+clever"),
    seeds: int = 2,
    collapsed: Sequence[str] = (),
    controls: bool = True,
) -> Study:
    """Write records.csv, curves.csv and runs.json of a synthetic study to ``folder``, which must not exist yet."""
    draw = random.Random(1)
    records: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []

    def record(axes: dict[str, Any], part: str) -> None:
        for perturbation in PERTURBATIONS:
            for selection in ("last", "best") if perturbation == "orig" else ("last",):
                records.append(
                    {
                        **axes,
                        "protocol": "linear",
                        "part": part,
                        "perturbation": perturbation,
                        "metric": "top1",
                        "value": draw.uniform(10, 90),
                        "n": 360,
                        "selection": selection,
                        "epoch": 99 if selection == "last" else 42,
                        "commit": "c0ffee",
                        "recipe_digest": "d1935",
                        "data_checksum": "5eed",
                    }
                )

    def axes_of(backbone: str, method: str, augmentation: str, seed: int) -> dict[str, Any]:
        run = f"{data}/{backbone}/{method}/{augmentation}/seed{seed}"
        names = {"run": run, "data": data, "backbone": backbone, "method": method}
        return {**names, "augmentation": augmentation, "seed": seed}

    for backbone in backbones:
        if controls:
            record(axes_of(backbone, "untrained", "none", 0), "ALL")
        for method in methods:
            for augmentation in ("baug", "caug"):
                for seed in range(seeds):
                    axes = axes_of(backbone, method, augmentation, seed)
                    for part in ("ALL", "IR", "EF") if "+" in method else ("ALL",):
                        record(axes, part)
                    metrics = ["loss_contrast", "teacher_entropy_ratio", "effective_rank_all"]
                    if "+" in method:
                        metrics += ["loss_orthogonality", "loss_head_norm", "effective_rank_ir"]
                    for epoch in range(3):
                        curves += [{**axes, "epoch": epoch, "metric": m, "value": draw.random()} for m in metrics]
                    runs.append(
                        {
                            "format": 1,
                            "run": axes["run"],
                            "recipe": {},
                            "recipe_digest": "d1935",
                            "feature_dim": 512,
                            "ir_dim": 409 if "+" in method else None,
                            "git_commit": "c0ffee",
                            "git_dirty": False,
                            "versions": {"torch": "2.14.1"},
                            "hardware": {"device": "cpu", "cores": 2},
                            "data_checksum": "5eed",
                            "epochs": 7,
                            "iterations": 1234,
                            "wall_seconds": 3725.0,
                            "images_per_second": 812.4,
                            "peak_memory_bytes": 3 * 2**29,
                            "health": COLLAPSED if axes["run"] in collapsed else "ok",
                        }
                    )
    if controls:
        record(axes_of("pixels", "untrained", "none", 0), "ALL")
    study = Study(folder, pd.DataFrame(records), pd.DataFrame(curves), runs)
    study.folder.mkdir()
    study.records.to_csv(study.records_path, index=False)
    study.curves.to_csv(study.curves_path, index=False)
    study.runs_path.write_text(json.dumps(runs), encoding="utf-8")
    return study
