"""Train one run of a study and do all its evaluations in one process, so that modules are imported only once."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Literal

import torch

from clever.config import load_study
from clever.data import Store
from clever.errors import UserError
from clever.evaluation.job import evaluate_run
from clever.pretraining.engine import pretrain
from clever.pretraining.options import ExecutionOptions

Placement = Literal["auto", "device"]


def run_and_evaluate(study_file: Path, run: str, store: Path, results: Path, device: str, threads: int) -> None:
    """Train or resume the run, and evaluate it with every protocol of the study.

    Files are written where Snakemake would put them: ``<results>/runs/<run>/`` and ``<results>/evaluations/<run>/``.

    Raises:
        UserError: see :func:`clever.pretraining.engine.pretrain` and :func:`clever.evaluation.job.evaluate_run`.
    """
    study = load_study(study_file)
    recipe, folder = study.recipe(run), results / "runs" / run
    started = time.monotonic()
    used = device if recipe.method else "cpu"
    placement: Placement = "device" if used.startswith("cuda") else "auto"
    execution = ExecutionOptions(device=used, threads=threads, placement=placement, state_gap_seconds=20.0)
    pretrain(recipe, Store.open(store), folder, execution)
    print(f"{run}: trained in {time.monotonic() - started:.1f} s", flush=True)
    begun = time.monotonic()
    evaluate_run(
        {protocol: options.model_dump(mode="json") for protocol, options in study.evaluation_options().items()},
        run_folder=folder,
        store_folder=store,
        output_folder=results / "evaluations" / run,
        device=device,
        threads=threads,
    )
    print(f"{run}: evaluated in {time.monotonic() - begun:.1f} s", flush=True)


def main() -> int:
    """The command line of one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--threads", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        run_and_evaluate(
            arguments.study, arguments.run, arguments.store, arguments.results, arguments.device, arguments.threads
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
