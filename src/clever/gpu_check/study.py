"""Run the study seed after seed, with several runs sharing the card; the records of all finished runs are written after
each run.

Every run is its own process. A run starts only if the remaining time is enough for it, so that the last seconds go to
runs that will finish. The files are valid at any moment: they hold the records, curves and descriptions of the runs
that have been trained and evaluated completely.
"""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from clever.cli import main as command_line
from clever.config import load_study
from clever.files import write_bytes
from clever.gpu_check.findings import Findings, step_parser
from clever.pretraining.recipe import RunRecipe
from clever.results import records

_CONTROL_SECONDS = 25.0


@dataclass
class Going:
    """A run in progress."""

    recipe: RunRecipe
    process: subprocess.Popen[bytes]
    started: float


def in_order(recipes: list[RunRecipe], first_seed: int) -> list[RunRecipe]:
    """The recipes seed by seed, the controls of each seed last; seeds before ``first_seed`` are skipped."""
    kept = [recipe for recipe in recipes if recipe.seed >= first_seed or recipe.backbone_name == "pixels"]
    return sorted(kept, key=lambda recipe: (max(recipe.seed, first_seed), recipe.method is None))


def collect(results: Path, runs: list[str], protocols: list[str], output: Path) -> int:
    """Write records.csv, curves.csv.gz and runs.json of all finished runs, and return their number."""
    files = {run: [results / "evaluations" / run / f"{protocol}.json" for protocol in protocols] for run in runs}
    whole = [
        run for run in runs if (results / "runs" / run / "run.json").exists() and all(p.exists() for p in files[run])
    ]
    if whole:
        words = ["collect", "--evaluations", *(str(path) for run in whole for path in files[run])]
        words += ["--runs", *(str(results / "runs" / run) for run in whole), "--output", str(results / "collected")]
        if command_line(words):
            raise RuntimeError("the records could not be collected; the reason is above")
        for name in ("records.csv", "curves.csv", "runs.json"):
            content = (results / "collected" / name).read_bytes()
            if name == "curves.csv":
                name, content = "curves.csv.gz", gzip.compress(content, mtime=0)
            write_bytes(output / name, content)
    return len(whole)


class Course:
    """Starts and stops runs until all are done or the time is over."""

    def __init__(
        self, study: Path, store: Path, results: Path, output: Path, device: str, processes: int, findings: Findings
    ) -> None:
        self.study_file, self.store, self.results, self.output = study, store, results, output
        self.device, self.processes, self.findings = device, processes, findings
        self.study = load_study(study)
        self.protocols = list(self.study.evaluation_options())
        self.taken: dict[str, float] = {}
        """Longest run so far of each method, in seconds."""
        self.going: list[Going] = []
        self.ended: dict[str, str] = {}

    def follow(self, first_seed: int, seconds: float, expected: float) -> None:
        """Run for ``seconds``. Until the first run has ended, a trained run is expected to take ``expected``
        seconds."""
        end = time.monotonic() + seconds
        waiting = in_order(list(self.study.recipes().values()), first_seed)
        while (waiting or self.going) and time.monotonic() < end:
            while waiting and len(self.going) < self.processes:
                recipe = waiting.pop(0)
                if self._guess(recipe, expected) <= end - time.monotonic():
                    self._start(recipe)
                else:
                    self.ended[recipe.run] = "not started: too little time"
            time.sleep(0.1)
            self._reap()
        for run in self.going:
            run.process.send_signal(signal.SIGKILL)
            self.ended[run.recipe.run] = "stopped: no time left"
        self._note()

    def _guess(self, recipe: RunRecipe, expected: float) -> float:
        if recipe.method is None:
            return self.taken.get(recipe.run.rpartition("/")[0], _CONTROL_SECONDS)
        return self.taken.get(recipe.method_name, max([expected, *self.taken.values()][: 1 + bool(self.taken)]))

    def _start(self, recipe: RunRecipe) -> None:
        log = self.results / "logs" / f"{recipe.run.replace('/', '_')}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        threads = max(1, (os.cpu_count() or 1) // self.processes)
        command = [sys.executable, "-m", "clever.gpu_check.one_run", "--study", str(self.study_file)]
        command += ["--run", recipe.run, "--store", str(self.store), "--results", str(self.results)]
        command += ["--device", self.device, "--threads", str(threads)]
        with log.open("wb") as file:
            environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        self.going.append(Going(recipe, process, time.monotonic()))

    def _reap(self) -> None:
        for run in [run for run in self.going if run.process.poll() is not None]:
            self.going.remove(run)
            seconds = time.monotonic() - run.started
            good = run.process.returncode == 0
            name = run.recipe.method_name if run.recipe.method else run.recipe.run.rpartition("/")[0]
            if good:
                self.taken[name] = max(seconds, self.taken.get(name, 0.0))
            self.ended[run.recipe.run] = f"{'done' if good else f'failed ({run.process.returncode})'}, {seconds:.0f} s"
            print(f"{run.recipe.run}: {self.ended[run.recipe.run]}", flush=True)
            self._note()

    def _note(self) -> None:
        whole = collect(self.results, list(self.study.recipes()), self.protocols, self.output)
        self.findings.fact("runs", self.ended)
        self.findings.row("whole runs", whole, "runs", self.study.study)
        if whole:
            self.findings.fact("accuracies", accuracies(self.output / "records.csv"))


def accuracies(path: Path) -> list[dict[str, object]]:
    """Mean and number of seeds of each method's accuracies on clean and rotated images, last epoch, part ALL."""
    found = records.read_records(path)
    chosen = found[(found.metric == "top1") & (found.part == "ALL") & (found.selection == "last")]
    chosen = chosen[chosen.perturbation.isin(["orig", "cj_rot"])]
    columns = ["protocol", "perturbation", "backbone", "method", "augmentation"]
    grouped: pd.DataFrame = chosen.groupby(columns)["value"].agg(["mean", "min", "max", "count"]).reset_index()
    return [{str(key): value for key, value in row.items()} for row in grouped.to_dict("records")]


def main() -> int:
    """Run one study."""
    parser = step_parser(__doc__)
    parser.add_argument("--study", type=Path, required=True, metavar="FILE")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True, help="folder for runs and evaluations")
    parser.add_argument("--output", type=Path, required=True, help="folder for the records of finished runs")
    parser.add_argument("--processes", type=int, default=1, help="runs that share the card")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--expected", type=float, required=True, help="expected seconds of the first run")
    arguments = parser.parse_args()
    findings = Findings(arguments.findings)
    course = Course(
        arguments.study,
        arguments.store,
        arguments.results,
        arguments.output,
        arguments.device,
        arguments.processes,
        findings,
    )
    course.follow(arguments.first_seed, arguments.seconds, arguments.expected)
    return 1 if any(state.startswith("failed") for state in course.ended.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
