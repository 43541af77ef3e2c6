"""DINO's cross-entropy and CLeVER's cosines, forward and backward: one sweep against the straightforward double loop.

    python benchmarks/losses.py                      # 10 views, K = 65,536, 16 images: a minute on a CPU
    python benchmarks/losses.py --images 64 --json
    python benchmarks/losses.py --device cuda --images 512 --dtype bfloat16     # as in a training step on a GPU

The reference is the usual implementation of the loss: for each of the 18 pairs of a teacher view and another student
view, a log-softmax and a product, or a softmax and a cosine, with autograd's backward pass. Time: alternating rounds in
one process. Memory: the peak beyond the logits, measured in a separate process for each contender (resident set on a
CPU, allocated memory on a GPU); it includes the gradients of the logits, which both need.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable

import rounds
import torch
import torch.nn.functional as F
from torch import Tensor

from clever.baselines.distillation import cosine, cross_entropy

STUDENT, TEACHER = 0.1, 0.04


class Logits:
    """Random logits in [-1, 1] of both heads, for the given number of student views and two teacher views."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        device, dtype = torch.device(arguments.device), getattr(torch, arguments.dtype)
        generator = torch.Generator(device).manual_seed(0)

        def draw(views: int, needs_gradient: bool) -> list[Tensor]:
            shape = arguments.images, arguments.outputs
            # Filled in place: temporary copies would raise the peak that memory is measured against.
            made = [torch.empty(shape, device=device, dtype=dtype) for _ in range(views)]
            return [m.uniform_(-1, 1, generator=generator).requires_grad_(needs_gradient) for m in made]

        self.student = {head: draw(arguments.views, True) for head in ("IR", "EF")}
        self.teacher = {head: draw(2, False) for head in ("IR", "EF")}
        self.centre = torch.zeros(1, arguments.outputs, device=device)

    def forget_gradients(self) -> None:
        for views in self.student.values():
            for view in views:
                view.grad = None


def one_sweep(logits: Logits) -> Tensor:
    """This package's losses, in one sweep."""
    temperatures = {"student_temperature": STUDENT, "teacher_temperature": TEACHER}
    contrast = cross_entropy(logits.student["IR"], logits.teacher["IR"], logits.centre, **temperatures)
    return contrast + cosine(logits.student["EF"], logits.teacher["EF"], logits.centre, **temperatures)


def double_loop(logits: Logits) -> Tensor:
    """The straightforward form, in float32 as under autocast."""
    targets = {
        head: [torch.softmax((view.float() - logits.centre) / TEACHER, dim=-1) for view in views]
        for head, views in logits.teacher.items()
    }
    contrast = orthogonality = torch.zeros((), device=logits.centre.device)
    pairs = 0
    for q in range(len(targets["IR"])):
        for v in range(len(logits.student["IR"])):
            if v == q:
                continue
            logarithm = F.log_softmax(logits.student["IR"][v].float() / STUDENT, dim=-1)
            contrast = contrast - (targets["IR"][q] * logarithm).sum(-1).mean()
            probability = F.softmax(logits.student["EF"][v].float() / STUDENT, dim=-1)
            orthogonality = orthogonality + F.cosine_similarity(targets["EF"][q], probability, dim=1).mean().abs()
            pairs += 1
    return (contrast + orthogonality) / pairs


CONTENDERS: dict[str, Callable[[Logits], Tensor]] = {"one_sweep": one_sweep, "double_loop": double_loop}


def forward_backward(contender: str, logits: Logits) -> Tensor:
    logits.forget_gradients()
    loss = CONTENDERS[contender](logits)
    loss.backward()
    return loss.detach()


def peak_bytes(contender: str, arguments: argparse.Namespace) -> int:
    """Peak memory of one forward and backward pass beyond the logits; call it in a new process."""
    # One image first, so that one-time allocations of libraries are not counted.
    forward_backward(contender, Logits(argparse.Namespace(**vars(arguments) | {"images": 1})))
    logits = Logits(arguments)
    if arguments.device.startswith("cuda"):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        forward_backward(contender, logits)
        return torch.cuda.max_memory_allocated() - before
    before = rounds.start_of_peak()
    forward_backward(contender, logits)
    return rounds.resident_bytes("VmHWM") - before


def measured_apart(contender: str, arguments: argparse.Namespace) -> int:
    """``peak_bytes`` in a separate process."""
    flags = [f"--{name}={getattr(arguments, name)}" for name in ("device", "images", "views", "outputs", "dtype")]
    command = [sys.executable, __file__, *flags, f"--peak-of={contender}"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = rounds.parser(__doc__)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--views", type=int, default=10)
    parser.add_argument("--outputs", type=int, default=65536)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--peak-of", choices=list(CONTENDERS), help=argparse.SUPPRESS)
    arguments = rounds.parse(parser)
    if arguments.peak_of:
        print(peak_bytes(arguments.peak_of, arguments))
        return
    del arguments.peak_of

    logits = Logits(arguments)
    values = {name: forward_backward(name, logits).item() for name in CONTENDERS}
    gradients = {}
    for name in CONTENDERS:
        forward_backward(name, logits)
        views = [view for views in logits.student.values() for view in views]
        gradients[name] = [view.grad.float() for view in views if view.grad is not None]
    pairs = list(zip(gradients["one_sweep"], gradients["double_loop"], strict=True))
    gradient_error = max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)
    del gradients, pairs

    work = {name: (lambda name=name: forward_backward(name, logits)) for name in CONTENDERS}
    seconds = rounds.alternate(work, arguments.rounds, torch.device(arguments.device))
    peaks = {name: measured_apart(name, arguments) for name in CONTENDERS}
    shape = f"{arguments.views} views, K = {arguments.outputs}, {arguments.images} images, {arguments.dtype}"
    rounds.report(
        arguments,
        [
            rounds.row(
                f"speed-up, {shape}",
                rounds.median_ratio(seconds["double_loop"], seconds["one_sweep"]),
                "x",
                "double loop",
                2.0,
            ),
            rounds.row(
                "peak memory over the reference's",
                peaks["one_sweep"] / peaks["double_loop"],
                "x",
                "double loop",
                0.5,
                most=True,
            ),
            *(rounds.row(f"seconds of {name}", sorted(s)[len(s) // 2], "s", "") for name, s in seconds.items()),
            *(rounds.row(f"peak memory of {name}", peak / 2**20, "MiB", "") for name, peak in peaks.items()),
            rounds.row("relative difference of the loss", abs(values["one_sweep"] / values["double_loop"] - 1), "", ""),
            rounds.row("largest difference of a gradient, of its largest entry", gradient_error, "", ""),
        ],
    )


if __name__ == "__main__":
    main()
