"""Find steps that wait for the device: every baseline with every add-on under CUDA's sync debug mode.

Three steps run first, so that everything that is created only once exists (streams, workspaces, the optimiser's state,
constants). A CPU never waits, so there the steps are only run.
"""

from __future__ import annotations

import sys

import torch

from clever.gpu_check.findings import Findings, describe_error, step_parser
from clever.gpu_check.sizes import sizes_for
from clever.gpu_check.trials import pairs, trial_images, trial_recipe, trial_trainer


def take_steps(baseline: str, equivariance: str, device: torch.device) -> str | None:
    """Take two steps; return the place where one of them waits for the device, or None."""
    trainer = trial_trainer(trial_recipe(baseline, equivariance, "resnet10t_half", 8, _precision(device)), device)
    batch = trial_images(8, device)
    for iteration in range(3):
        trainer.step(batch, iteration)
    if device.type != "cuda":
        return None
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for iteration in range(3, 5):
            trainer.step(batch, iteration)
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        return describe_error(error)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return None


def _precision(device: torch.device) -> str:
    return "bf16" if device.type == "cuda" else "fp32"


def main() -> int:
    """Try all pairs, and count those that wait or raise."""
    arguments = step_parser(__doc__).parse_args()
    findings = Findings(arguments.findings)
    device = torch.device(arguments.device)
    waits, broken = dict[str, str](), dict[str, str]()
    every = pairs(sizes_for(arguments.device).waits_per_baseline)
    for tried, (baseline, equivariance) in enumerate(every, start=1):
        pair = f"{baseline}+{equivariance}"
        try:
            found = take_steps(baseline, equivariance, device)
        except Exception as error:  # the other pairs are still tried
            broken[pair] = describe_error(error)
            findings.fact("pairs that raised", broken)
        else:
            if found is not None:
                waits[pair] = found
                findings.fact("pairs that wait", waits)
        findings.row("pairs of baseline and add-on tried", tried, "pairs", "resnet10t_half, 8 images")
        findings.row("pairs whose step waits for the device", len(waits), "pairs", "sync debug mode", 0.0, True)
        findings.row("pairs whose step raised", len(broken), "pairs", "", 0.0, True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
