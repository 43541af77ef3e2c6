"""The study, reduced to a size that a CPU trains in seconds, for a rehearsal of the whole script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from clever.config import parse_study
from clever.files import write_text
from clever.study_file import read_study


def write_small_study(source: Path, target: Path) -> None:
    """Write ``source`` with a small network, one epoch of a few steps, one seed and quick evaluations."""
    content: Any = read_study(source)
    content["backbones"]["resnet18"]["name"] = "resnet10t_half"
    content["data"]["cifar10"] |= {"train_limit": 40, "test_limit": 20}
    for method in content["methods"].values():
        narrow = {"hidden_dim": 16, "out_dim": 16}
        method["baseline"] = method["baseline"] | narrow
        if "predictor_dim" in method["baseline"]:
            method["baseline"]["predictor_dim"] = 8
    block = content["pretrainings"][0]
    small = {"epochs": 1, "batch_size": 20, "warmup_epochs": 0, "precision": "fp32"}
    content["pretrainings"] = [block | {"optimisation": block["optimisation"] | small}]
    content["evaluations"]["linear"] |= {"epochs": 2, "training_views": "plain", "perturbations": ["orig", "cj_rot"]}
    parse_study(content, str(target))
    write_text(target, yaml.safe_dump(content, sort_keys=False))
