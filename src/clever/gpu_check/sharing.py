"""Find how many processes should share the card: run the study's training step in one, two and four at a time.

Every process trains the same method on the study's images. The number with the highest total images/s is chosen; of two
within 3 %, the smaller one is chosen.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import torch

from clever.config import load_study
from clever.data import Batches, Store
from clever.gpu_check.findings import Findings, step_parser
from clever.gpu_check.sizes import sizes_for
from clever.pretraining.trainer import Trainer

NEAR = 0.97


def serve(study: Path, run: str, store_folder: Path, device_name: str) -> None:
    """For each line of standard input, train for that many seconds and print the images per second."""
    recipe, store, device = load_study(study).recipe(run), Store.open(store_folder), torch.device(device_name)
    assert recipe.optimisation is not None
    size = recipe.optimisation.batch_size
    placement = "device" if device.type == "cuda" else "auto"
    batches = Batches(store.split("train"), size, seed=0, device=device, placement=placement)  # type: ignore[arg-type]
    images = len(store.split("train"))
    trainer = Trainer(recipe, store.mean, store.std, len(batches), device, training_images=images)
    iteration = 0

    def train(seconds: float, least: int) -> float:
        nonlocal iteration
        started, taken = time.perf_counter(), 0
        while True:
            for batch in batches.epoch(iteration):
                loss = trainer.step(batch, iteration)["loss"]
                iteration, taken = iteration + 1, taken + 1
                if taken % 5 == 0 or taken == least:
                    float(loss)  # wait for the device, so that no step is still queued when the time is over
                    if time.perf_counter() - started > seconds and taken >= least:
                        return taken * size / (time.perf_counter() - started)

    train(0.0, least=10 if device.type == "cuda" else 1)
    print("ready", flush=True)
    for line in sys.stdin:
        print(train(float(line), least=1), flush=True)


def main() -> int:
    """Measure each number of processes."""
    parser = step_parser(__doc__)
    parser.add_argument("--study", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--run", help="the run to train; makes this process one of the measured ones")
    arguments = parser.parse_args()
    if arguments.run:
        serve(arguments.study, arguments.run, arguments.store, arguments.device)
        return 0
    sizes, findings = sizes_for(arguments.device), Findings(arguments.findings)
    run = list(load_study(arguments.study).recipes())[1]
    command = [sys.executable, "-m", "clever.gpu_check.sharing", "--device", arguments.device, "--run", run]
    command += ["--study", str(arguments.study), "--store", str(arguments.store)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(max(sizes.sharing))
    ]
    try:
        ready = [process for process in processes if _line(process) == "ready"]
        if not ready:
            return 1
        rates: dict[int, float] = {}
        for number in sizes.sharing:
            if number <= len(ready):
                for process in ready[:number]:
                    assert process.stdin is not None
                    process.stdin.write(f"{sizes.sharing_seconds}\n")
                    process.stdin.flush()
                rates[number] = sum(float(_line(process)) for process in ready[:number])
                what = f"{number} process{'es' * (number > 1)} training {run}"
                findings.row(
                    what, rates[number], "images/s", "all of them together, two views of an image counted once"
                )
        best = max(rates.values())
        chosen = next(number for number, rate in sorted(rates.items()) if rate >= NEAR * best)
        findings.fact("processes", chosen)
        findings.fact("images a second", rates[chosen])
    finally:
        for process in processes:
            process.kill()
    return 0


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


if __name__ == "__main__":
    sys.exit(main())
