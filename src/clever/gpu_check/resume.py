"""Compare a run that is stopped with SIGTERM and resumed with two uninterrupted runs.

On a CPU all three end with the same bits. On a GPU two uninterrupted runs may already differ, because some of cuDNN's
sums have no fixed order; the resumed run is compared with a tolerance and with that difference.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import load_file
from torch import Tensor

from clever.data import Batches, DataOptions, ImageBatch, Store, prepare
from clever.gpu_check.findings import Findings, attempt, step_parser
from clever.pretraining.engine import pretrain
from clever.pretraining.interruption import Interrupted
from clever.pretraining.options import ExecutionOptions
from clever.pretraining.recipe import RunRecipe

TOLERANCE = 1e-2
"""Largest allowed relative difference between the weights of a resumed and a whole run of 12 steps on a GPU."""


def recipe_for(precision: str, backbone: str) -> RunRecipe:
    """12 steps of DINO+CLeVER (teacher, centre, two heads) on digits at 16 px."""
    return RunRecipe.model_validate(
        {
            "data": "digits",
            "backbone_name": backbone,
            "backbone": {"name": backbone, "image_size": 16} | ({"patch_size": 4} if "vit" in backbone else {}),
            "method_name": "dino+clever",
            "method": {
                "baseline": {"name": "dino", "out_dim": 64, "hidden_dim": 32, "bottleneck_dim": 16},
                "equivariance": {"name": "clever"},
            },
            "augmentation_name": "caug",
            "augmentation": {"name": "caug", "global_size": 16, "local_size": 8, "local_views": 2},
            "optimisation": {"epochs": 2, "batch_size": 16, "warmup_epochs": 0, "precision": precision},
            "seed": 0,
        }
    )


def weights_after(recipe: RunRecipe, store: Store, folder: Path, device: str, stopped: bool) -> dict[str, Tensor]:
    """The backbone of an uninterrupted run, or of one that is stopped in its second epoch and resumed."""
    execution = ExecutionOptions(device=device, placement="device" if device.startswith("cuda") else "auto")
    whole = Batches.epoch

    def stopping(self: Batches, epoch: int, start: int = 0) -> Iterator[ImageBatch]:
        for number, batch in enumerate(whole(self, epoch, start)):
            if epoch == 1 and number == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    if stopped:
        try:
            with patch.object(Batches, "epoch", stopping):
                pretrain(recipe, store, folder, execution)
        except Interrupted as interruption:
            print(interruption)
        else:
            raise AssertionError("the run was not stopped")
    pretrain(recipe, store, folder, execution)
    return load_file(folder / "backbone.safetensors")


def difference(found: dict[str, Tensor], reference: dict[str, Tensor]) -> float:
    """Norm of the difference of all floating-point tensors over the norm of the reference."""
    pairs = [(found[name].double(), value.double()) for name, value in reference.items() if value.is_floating_point()]
    apart: Any = sum((a - b).square().sum() for a, b in pairs)
    size: Any = sum(b.square().sum() for _, b in pairs)
    return float((apart / size).sqrt())


def compare(precision: str, backbone: str, store: Store, device: str, findings: Findings) -> None:
    """Measure the rows of one precision and backbone."""
    name, recipe = f"{backbone}, {precision}", recipe_for(precision, backbone)
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            kind: weights_after(recipe, store, Path(folder) / kind / recipe.run, device, kind == "resumed")
            for kind in ("whole", "again", "resumed")
        }
    whole = runs["whole"]
    for kind, words in (("again", "a second whole run"), ("resumed", "a resumed run")):
        bound = TOLERANCE if device.startswith("cuda") else 0.0
        apart = difference(runs[kind], whole)
        findings.row(f"{name}: weights of {words}, apart from the first", apart, "", "relative", bound, True)
        findings.fact(f"{name}: {words} bit-equal", all(torch.equal(runs[kind][key], whole[key]) for key in whole))


def main() -> int:
    """Compare in both precisions on a GPU, in fp32 on a CPU."""
    arguments = step_parser(__doc__).parse_args()
    findings = Findings(arguments.findings)
    cases = [("fp32", "resnet10t_half")]
    if arguments.device.startswith("cuda"):
        cases += [("bf16", "resnet10t_half"), ("bf16", "test_vit")]
    with tempfile.TemporaryDirectory() as folder:
        options = DataOptions(source="digits", image_size=16, train_limit=96, test_limit=32)
        store = prepare(options, Path(folder) / "digits", progress=False)
        ended = []
        for precision, backbone in cases:
            work = functools.partial(compare, precision, backbone, store, arguments.device, findings)
            ended.append(attempt(findings, f"{backbone}, {precision}", work))
    return 0 if all(ended) else 1


if __name__ == "__main__":
    sys.exit(main())
