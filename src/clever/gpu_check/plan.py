"""The order of the steps and their time limits."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from clever.gpu_check.benchmarks import checkout
from clever.gpu_check.journal import Journal
from clever.gpu_check.rehearsal import write_small_study
from clever.gpu_check.sizes import Sizes
from clever.gpu_check.steps import Step, run_together
from clever.gpu_check.variants import NAMES, choose, open_study, predicted_seconds, study_file, trained_images

ACCELERATOR_TESTS = "accelerator or never_waits or gpu_makes or on_a_gpu"
"""Tests that are skipped without a GPU (pytest -k)."""
_TEST_FILES = (
    "tests/augmentation/test_elastic.py",
    "tests/augmentation/test_augmentation.py",
    "tests/data/test_latents.py",
    "tests/data/test_loading.py",
    "tests/pretraining/test_trainer.py",
)
_PACKING = 8.0
"""Seconds reserved for finishing."""
_SHARING = 50.0
_WARM_UPS = (("vit_small_compiled", 0.43), ("vit_tiny_compiled", 0.46), ("resnet18_compiled", 0.06))
"""Cases that are compiled together before they are measured, each in a share of the card's memory: on an H100 of
79 GiB they take 32, 34 and 3 GiB."""


class Plan:
    """Run the sections one after the other, within the time limit.

    Args:
        sizes: sizes of the card or of the rehearsal.
        journal: the result files.
        minutes: time limit of the whole check.
        data: the folder of the slice.
        sections: which of them to run.
        cases: the speed steps to run; None runs all of them.
    """

    def __init__(
        self,
        sizes: Sizes,
        journal: Journal,
        minutes: float,
        data: Path,
        sections: Sequence[str],
        cases: Sequence[str] | None = None,
    ) -> None:
        self.sizes, self.journal, self.sections, self.cases = sizes, journal, sections, cases
        self.rehearsal = sizes.device == "cpu"
        self.work = journal.work
        self.end = time.monotonic() + 60 * minutes - _PACKING
        self.slice = data / "cifar10.npz"
        self.root, self.store = self.work / "data" / "root", self.work / "data" / "store"
        self.studies = {name: self._study_path(name) for name in NAMES}

    def follow(self, study: str | None, first_seed: int) -> None:
        """Run all sections; ``study`` is one of ``NAMES``, or None to let the trial choose."""
        if study is not None and study not in self.studies:
            self.journal.say(f"study {study} is unknown (choose from {', '.join(NAMES)}); the trial chooses")
            study = None
        if not self.rehearsal and "study" in self.sections and not self.slice.is_file():
            self.journal.say(f"{self.slice} is missing, so no study will run; create it with clever.gpu_check.slice")
            self.sections = [name for name in self.sections if name != "study"]
        if "correctness" in self.sections:
            self._run([*self._data(), *self._correctness(), *self._warm_ups()], self.sizes.correctness_seconds)
        else:
            self._run([*self._data(), *self._warm_ups()], 75.0)
        if "speed" in self.sections:
            seconds = min(self.sizes.speed_seconds, self._left() - self._kept_for_study())
            deadline = time.monotonic() + seconds
            for step in self._speed():
                self._run([step], deadline - time.monotonic())
        if "study" in self.sections:
            self._study(study, first_seed)

    def _left(self) -> float:
        return self.end - time.monotonic()

    def _kept_for_study(self) -> float:
        return self.sizes.study_seconds + _SHARING / 2 if "study" in self.sections else 0.0

    def _run(self, steps: Sequence[Step], seconds: float) -> None:
        deadline = min(time.monotonic() + seconds, self.end)
        run_together(steps, deadline, self.work, self.journal.note, self.journal.say)
        self.journal.pack()

    def _step(self, name: str, section: str, module: str, seconds: float, *more: str, threads: int = 4) -> Step:
        command = (sys.executable, "-m", f"clever.gpu_check.{module}", "--device", self.sizes.device)
        environment = {"OMP_NUM_THREADS": "1" if self.rehearsal else str(threads)}
        # The warm-up and the measurement share compiled code.
        environment["TORCHINDUCTOR_CACHE_DIR"] = str(self.work / "data" / "inductor")
        return Step(name, section, (*command, "--findings", "FINDINGS", *more), seconds, environment)

    def _data(self) -> list[Step]:
        if "study" not in self.sections:
            return []
        more = ["--study", str(self.studies["cifar10_gpu"]), "--root", str(self.root), "--store", str(self.store)]
        more += [] if self.rehearsal else ["--slice", str(self.slice)]
        return [self._step("data", "study", "data", 60.0, *more)]

    def _correctness(self) -> list[Step]:
        limit = self.sizes.correctness_seconds
        tests = [str(checkout() / name) for name in _TEST_FILES]
        flags = ("-q", "-rfEs", "-p", "no:cacheprovider", "--rootdir", str(checkout()), "-k", ACCELERATOR_TESTS)
        command = (sys.executable, "-m", "pytest", *flags, *tests)
        return [
            Step("tests", "correctness", command, limit, {"OMP_NUM_THREADS": "1"}),
            self._step("agreement", "correctness", "agreement", limit, threads=8),
            self._step("waits", "correctness", "waits", limit, threads=1),
            self._step("resume", "correctness", "resume", limit, threads=1),
            self._step("evaluation", "correctness", "evaluation", limit, threads=2),
        ]

    def _warm_ups(self) -> list[Step]:
        if "speed" not in self.sections or self.rehearsal:
            return []
        limit = self.sizes.correctness_seconds
        return [
            self._step(f"compile_{name}", "speed", "speed", limit, "--case", name, "--warm-up", str(share))
            for name, share in _WARM_UPS
            if self._wanted(name)
        ]

    def _wanted(self, case: str) -> bool:
        return self.cases is None or case in self.cases

    def _speed(self) -> list[Step]:
        cases = [
            self._step(case.name, "speed", "speed", case.seconds, "--case", case.name, threads=8)
            for case in self.sizes.speed
        ]
        if self.sizes.vmamba:
            cases.insert(3, self._step("vmamba", "speed", "vmamba", 40.0, threads=8))
        cases.insert(0, self._step("fused_views", "speed", "fused_views", 40.0, threads=8))
        return [step for step in cases if self._wanted(step.name)]

    def _study_path(self, name: str) -> Path:
        if not self.rehearsal:
            return study_file(name)
        small = self.work / "data" / f"{name}.yaml"
        small.parent.mkdir(parents=True, exist_ok=True)
        write_small_study(study_file(name), small)
        return small

    def _study(self, name: str | None, first_seed: int) -> None:
        if not (self.store / "store.json").is_file():
            self.journal.say("the study has no store (see data), so it is skipped")
            return
        common = ("--store", str(self.store))
        trial = self._step(
            "sharing", "study", "sharing", _SHARING, "--study", str(self.studies["cifar10_gpu"]), *common
        )
        self._run([trial], _SHARING)
        found = self.journal.outcomes["sharing"].facts
        rate, processes = found.get("images a second"), found.get("processes", 2)
        studies = {key: open_study(key) for key in NAMES}
        seconds = self._left()
        chosen = name or (choose(studies, rate, seconds) if rate else NAMES[-1])
        images = trained_images(studies[chosen])
        # The methods of a seed run in rounds of as many runs as share the card. This is the time of one run while the
        # others run.
        expected = predicted_seconds(images, rate) * processes / 4 if rate else 60.0
        measured = f"{rate:.0f} images/s by {processes} processes" if rate else "no trial"
        why = "as requested" if name else "by the rule of clever.gpu_check.variants"
        self.journal.decide(f"{chosen} {why}: {measured}, {seconds:.0f} s left, seeds from {first_seed}")
        more = ["--study", str(self.studies[chosen]), "--results", str(self.work / "study" / chosen)]
        more += ["--output", str(self.journal.output), "--processes", str(processes), "--first-seed", str(first_seed)]
        more += ["--seconds", f"{self._left() - 6:.1f}", "--expected", "5" if self.rehearsal else f"{expected:.1f}"]
        self._run([self._step("study", "study", "study", self._left(), *more, *common)], self._left())
