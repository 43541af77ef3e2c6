"""One case of ``benchmarks/training_step.py``, followed by a profile.

If the batch does not fit, half of it is tried, and the row names the image count. ``--warm-up`` only compiles, in a
share of the card's memory, and leaves inductor's cache for the measurement that follows.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from typing import Any

import torch

from clever.gpu_check.benchmarks import load_benchmark
from clever.gpu_check.findings import Findings, step_parser
from clever.gpu_check.profiling import profile
from clever.gpu_check.sizes import SpeedCase, sizes_for


def arguments_for(case: SpeedCase, device: str, images: int, rounds: int) -> Namespace:
    """The benchmark's flags."""
    precision = "bf16" if device.startswith("cuda") else "fp32"
    flags = f"--device {device} --backbone {case.backbone} --images {images} --views {case.views} --rounds {rounds}"
    flags += f" --augmentation {case.augmentation} --precision {precision}"
    flags += " --compile --alone" if case.compiled else ""
    flags += " --outputs 64" if device == "cpu" else ""
    made: Namespace = load_benchmark("training_step").parser().parse_args(flags.split())
    return made


def measure(case: SpeedCase, device: str, rounds: int, findings: Findings) -> None:
    """Record the rows of the benchmark under the case's name, then the profile."""
    benchmark, images = load_benchmark("training_step"), case.images
    while True:
        try:
            rows, stepper = benchmark.measure(arguments_for(case, device, images, rounds))
            break
        except torch.OutOfMemoryError:
            findings.row(f"{case.name}: out of memory", images, "images", "half of them are tried next")
            images //= 2
            torch.cuda.empty_cache()
            if images < 8:
                raise
    findings.fact("images a step", images)
    findings.add([row | {"what": f"{case.name}: {row['what']}"} for row in rows])
    profiled = profile(stepper, torch.device(device), images)
    findings.add([row | {"what": f"{case.name}: {row['what']}"} for row in profiled.rows])
    findings.fact("bottleneck", bottleneck(rows, profiled.rows, profiled.top))
    findings.fact("kernels", profiled.table)


def bottleneck(rows: list[dict[str, Any]], profiled: list[dict[str, Any]], top: str) -> str:
    """The largest stage, and whether the host or which kernel takes most of its time."""
    shares = {row["what"].removeprefix("share of "): row["value"] for row in rows if row["what"].startswith("share of")}
    busy = next((row["value"] for row in profiled if row["what"] == "share of time with a kernel running"), None)
    where = "the compiled step"
    if shares:
        stage = max(shares, key=lambda name: float(shares[name]))
        where = f"{stage} ({100 * shares[stage]:.0f} % of the step with synchronised stages)"
    if busy is not None and busy < 0.8:
        return f"{where}; the card waits for the host {100 * (1 - busy):.0f} % of the time"
    return f"{where}; most device time: {top}"


def warm_up(case: SpeedCase, device: str, share: float, findings: Findings) -> None:
    """Compile the case, and record how long that takes with an empty inductor cache."""
    if device.startswith("cuda"):
        torch.cuda.set_per_process_memory_fraction(share)
    stepper = load_benchmark("training_step").Stepper(arguments_for(case, device, case.images, 1), "clever")
    started = time.perf_counter()
    float(stepper()["loss"])
    spent = time.perf_counter() - started
    findings.row(
        f"{case.name}: seconds of a first step that compiles", spent, "s", "nothing cached, other jobs running"
    )


def main() -> int:
    """Measure one case, or warm it up."""
    parser = step_parser(__doc__)
    parser.add_argument("--case", required=True, help="name of the case in the sizes")
    parser.add_argument("--warm-up", type=float, metavar="SHARE", help="only compile, in this share of the memory")
    arguments = parser.parse_args()
    sizes, findings = sizes_for(arguments.device), Findings(arguments.findings)
    case = next(case for case in sizes.speed if case.name == arguments.case)
    if arguments.warm_up:
        warm_up(case, arguments.device, arguments.warm_up, findings)
    else:
        measure(case, arguments.device, sizes.rounds, findings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
