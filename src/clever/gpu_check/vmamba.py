"""Compare VMamba-Tiny with ViT-Small, forward and backward, as ``benchmarks/backbones.py`` measures it."""

from __future__ import annotations

import sys

import torch

from clever.gpu_check.benchmarks import load_benchmark
from clever.gpu_check.findings import Findings, step_parser
from clever.gpu_check.sizes import sizes_for

GOAL = 2.0
"""Largest allowed time of VMamba-Tiny, as a multiple of ViT-Small's."""


def main() -> int:
    """Measure with the batch of the sizes, or with half of it if that does not fit."""
    arguments = step_parser(__doc__).parse_args()
    sizes, findings = sizes_for(arguments.device), Findings(arguments.findings)
    assert sizes.vmamba is not None
    side, images = sizes.vmamba
    while True:
        try:
            found = load_benchmark("backbones").vmamba_against_vit(side, images, GOAL, sizes.rounds, arguments.device)
            break
        except torch.OutOfMemoryError:
            findings.row("vmamba_tiny: out of memory", images, "images", "half of them are tried next")
            images //= 2
            torch.cuda.empty_cache()
            if images < 4:
                raise
    what = f"vmamba_tiny over vit_small, {images} images of {side} px, forward and backward"
    findings.row(what, found["ratio"], "x", "time of vit_small", GOAL, True)
    findings.row("vmamba_tiny: seconds", found["seconds"], "s", found["what"])
    findings.row("vit_small: seconds", found["reference_seconds"], "s", found["reference"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
