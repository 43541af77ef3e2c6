"""Speed of VMamba's scan and of VMamba-Tiny, as ratios measured in alternating rounds.

    python benchmarks/backbones.py                     a table
    python benchmarks/backbones.py --json              the same as JSON on standard output
    python benchmarks/backbones.py --json FILE         ... or in a file

On a CPU: the scan against two loops over positions at length 784, and VMamba-Tiny against ViT-Small at 96 px, forward
and backward. With a GPU also, in bfloat16 at 224 px, VMamba-Tiny against ViT-Small. OMP_NUM_THREADS sets the number of
threads. Less than a minute on one core.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clever.backbones import BackboneOptions, build_backbone
from clever.backbones.selective_scan import selective_scan


def naive_loop(u: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, bias: Tensor) -> Tensor:
    """The usual reference implementation: a loop that indexes each position of the tensors."""
    delta = torch.nn.functional.softplus(step + bias[:, None, None])
    decay = torch.exp(delta * a[:, None, None])
    x = delta * u * b[..., None]
    h = torch.zeros_like(u[:, :, 0])
    outputs = []
    for i in range(u.shape[2]):
        h = decay[:, :, i] * h + x[:, :, i]
        outputs.append(h * c[:, :, i, None])
    return torch.stack(outputs, dim=2) + d[:, None, None] * u


def tidy_loop(u: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, bias: Tensor) -> Tensor:
    """The fastest loop with autograd: it splits the tensors once, since each indexing costs a full-size gradient."""
    delta = torch.nn.functional.softplus(step + bias[:, None, None])
    decays = torch.exp(delta * a[:, None, None]).unbind(2)
    inputs = (delta * u * b[..., None]).unbind(2)
    states = [inputs[0]]
    for decay, x in zip(decays[1:], inputs[1:], strict=True):
        states.append(decay * states[-1] + x)
    return torch.stack(states, dim=2) * c[..., None] + d[:, None, None] * u


def scan_inputs(length: int, images: int, channels: int, device: str) -> list[Tensor]:
    """Arguments as in a stage of VMamba-Tiny: two layouts of a map."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, images, length, channels)] * 2 + [(2, channels)] + [(2, images, length)] * 2 + [(2, channels)] * 2
    tensors = [torch.randn(*shape, generator=generator) for shape in shapes]
    tensors[2] = -torch.rand(2, channels, generator=generator) - 0.5
    tensors[6] -= 4
    return [tensor.to(device).requires_grad_() for tensor in tensors]


def timed(work: Callable[[], None], device: str) -> float:
    """Seconds of one call, with the device synchronised before and after."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(ours: Callable[[], None], reference: Callable[[], None], rounds: int, device: str) -> tuple[float, float]:
    """Median seconds of both, measured alternately so that a busy machine slows both, without the first round."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        times[0].append(timed(ours, device))
        times[1].append(timed(reference, device))
    return statistics.median(times[0][1:]), statistics.median(times[1][1:])


def scan_against_loop(loop: Callable[..., Tensor], goal: float | None, rounds: int, device: str) -> dict[str, Any]:
    """One image in the second stage of VMamba-Tiny at 224 px: length 784, 192 channels, two layouts."""
    arguments = scan_inputs(784, 1, 192, device)

    def backward(scan: Callable[..., Tensor]) -> Callable[[], None]:
        return lambda: torch.autograd.backward(scan(*arguments).sum(), inputs=arguments)

    ours, reference = compare(backward(selective_scan), backward(loop), rounds, device)
    return {
        "what": f"selective scan on {device}, length 784, 192 channels, forward and backward",
        "reference": loop.__name__,
        "seconds": ours,
        "reference_seconds": reference,
        "ratio": reference / ours,
        "goal": None if goal is None else f"at least {goal:g} times as fast",
        "met": None if goal is None else reference / ours >= goal,
    }


def vmamba_against_vit(size: int, images: int, goal: float, rounds: int, device: str) -> dict[str, Any]:
    """VMamba-Tiny and ViT-Small on the same images; bfloat16 autocast on a GPU, float32 on a CPU."""
    batch = torch.randn(images, 3, size, size, device=device)

    def step(name: str) -> Callable[[], None]:
        network = build_backbone(BackboneOptions(name=name, image_size=size), seed=0).to(device)

        def work() -> None:
            network.zero_grad()
            with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
                features = network(batch)
            features.float().square().sum().backward()

        return work

    ours, reference = compare(step("vmamba_tiny"), step("vit_small"), rounds, device)
    return {
        "what": f"vmamba_tiny, {images} images of {size} px, {'bfloat16' if device == 'cuda' else 'float32'}, "
        "forward and backward",
        "reference": "vit_small, the same",
        "seconds": ours,
        "reference_seconds": reference,
        "ratio": ours / reference,
        "goal": f"at most {goal:g} times the time",
        "met": ours / reference <= goal,
    }


def machine() -> dict[str, Any]:
    """The settings and the machine, on which the numbers depend."""
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def main() -> None:
    """Run the comparisons and print them."""
    parser = argparse.ArgumentParser(description="Speed of VMamba's scan and of VMamba-Tiny.")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="JSON to FILE, or to standard output")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds; medians are reported")
    parser.add_argument("--gpu-images", type=int, default=128, help="batch size on the GPU")
    options = parser.parse_args()
    rounds = options.rounds
    comparisons = [
        scan_against_loop(naive_loop, 10, rounds, "cpu"),
        scan_against_loop(tidy_loop, None, rounds, "cpu"),
        vmamba_against_vit(96, 8, 6, rounds, "cpu"),
    ]
    if torch.cuda.is_available():
        comparisons.append(scan_against_loop(naive_loop, None, rounds, "cuda"))
        comparisons.append(vmamba_against_vit(224, options.gpu_images, 2, rounds, "cuda"))
    report = {"machine": machine(), "rounds": rounds, "comparisons": comparisons}
    if options.json:
        text = json.dumps(report, indent=2) + "\n"
        if options.json == "-":
            sys.stdout.write(text)
        else:
            Path(options.json).write_text(text)
        return
    for row in comparisons:
        print(f"{row['what']}\n  {row['seconds']:.4f} s; {row['reference']}: {row['reference_seconds']:.4f} s")
        verdict = "" if row["met"] is None else f" (goal: {row['goal']}; {'met' if row['met'] else 'NOT met'})"
        print(f"  ratio {row['ratio']:.2f}{verdict}")


if __name__ == "__main__":
    main()
