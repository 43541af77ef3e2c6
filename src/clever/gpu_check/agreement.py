"""Compare losses and gradients of one batch: CPU with GPU in fp32, and bf16 with fp32 on the GPU.

Weights and random numbers come from the recipe, so that both sides compute the same thing. TF32 is off when devices are
compared; the effect of cuDNN's default (TF32 convolutions) is measured separately. The difference of a gradient is the
norm of the difference of all gradients, concatenated, over the norm of the reference.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from clever.gpu_check.findings import Findings, attempt, step_parser
from clever.gpu_check.sizes import sizes_for
from clever.gpu_check.trials import trial_images, trial_recipe, trial_trainer

LOSS, GRADIENT = 1e-3, 1e-2
"""Tolerance between devices in fp32."""
BF16_LOSS, BF16_COSINE = 5e-2, 0.8
"""Tolerances of bf16 against fp32: difference of the loss, and smallest cosine between the gradients. At the start of
training, the gradients of a small batch in a network with BatchNorm are mostly noise: 8 images gave 0.88 to 0.96 on a
CPU."""


def gradients_of(
    pair: tuple[str, str, str], images: int, device: torch.device, precision: str
) -> tuple[dict[str, float], Tensor]:
    """Named losses, and all gradients of the student in one float64 vector on the CPU."""
    trainer = trial_trainer(trial_recipe(*pair, images, precision), device)
    values = trainer.compute_gradients(trial_images(images, device), 0)
    found = [p.grad.detach().double().flatten().cpu() for p in trainer.student.parameters() if p.grad is not None]
    return {name: value.item() for name, value in values.items()}, torch.cat(found)


def relative_loss(found: dict[str, float], reference: dict[str, float]) -> float:
    """The largest difference of a named loss; absolute below 1, relative above."""
    return max(abs(found[name] - value) / max(1.0, abs(value)) for name, value in reference.items())


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Turn TF32 in cuDNN's convolutions on or off; matrix products keep torch's default, full fp32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def compare(pair: tuple[str, str, str], images: int, device: torch.device, findings: Findings) -> None:
    """Measure all rows of one baseline, add-on and backbone."""
    name = "{}+{}, {}".format(*pair)
    with tf32(False):
        expected, reference = gradients_of(pair, images, torch.device("cpu"), "fp32")
        losses, gradient = gradients_of(pair, images, device, "fp32")
    findings.row(f"{name}: loss, {device.type} against cpu, fp32", relative_loss(losses, expected), "", "", LOSS, True)
    difference = ((gradient - reference).norm() / reference.norm()).item()
    findings.row(f"{name}: gradient, {device.type} against cpu, fp32", difference, "", "", GRADIENT, True)
    with tf32(True):
        _, default = gradients_of(pair, images, device, "fp32")
        rounded_losses, rounded = gradients_of(pair, images, device, "bf16")
    findings.row(
        f"{name}: gradient, TF32 convolutions against fp32", ((default - gradient).norm() / gradient.norm()).item()
    )
    findings.row(f"{name}: loss, bf16 against fp32", relative_loss(rounded_losses, losses), "", "", BF16_LOSS, True)
    cosine = torch.nn.functional.cosine_similarity(rounded, gradient, dim=0).item()
    findings.row(f"{name}: cosine of gradients, bf16 with fp32", cosine, "", "", BF16_COSINE)


def main() -> int:
    """Compare every pair listed in the sizes."""
    parser = step_parser(__doc__)
    arguments = parser.parse_args()
    sizes, findings = sizes_for(arguments.device), Findings(arguments.findings)
    device = torch.device(arguments.device)
    ended = []
    for pair in sizes.agreement_pairs:
        work = functools.partial(compare, pair, sizes.agreement_images, device, findings)
        ended.append(attempt(findings, "{}+{}, {}".format(*pair), work))
    return 0 if all(ended) else 1


if __name__ == "__main__":
    sys.exit(main())
