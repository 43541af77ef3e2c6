"""The result files, which are rewritten after every step, so that their last state remains if the check is killed."""

from __future__ import annotations

import io
import sys
import tarfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clever.files import replacing, write_json, write_text
from clever.gpu_check.report import render
from clever.gpu_check.steps import Outcome

KEPT = ("run.json", "metrics.csv", ".log", ".json")
"""Suffixes of the files that the archive keeps; weights and training states are excluded."""


class Journal:
    """results.json, report.md, log.txt, profile.txt and rest.tar.gz in one folder.

    Args:
        output: the folder of the results.
        work: the folder of logs, findings, runs and evaluations.
        facts: facts known from the start: machine, commit, minutes.
    """

    def __init__(self, output: Path, work: Path, facts: dict[str, Any]) -> None:
        self.output, self.work = output, work
        self.facts = facts
        self.outcomes: dict[str, Outcome] = {}
        self.lines: list[str] = []
        self.started = time.monotonic()

    def say(self, text: str) -> None:
        """Print and save one line, with the seconds since the start."""
        line = f"[{time.monotonic() - self.started:5.0f} s] {text}"
        print(line, flush=True)
        self.lines.append(line)

    def note(self, outcome: Outcome) -> None:
        """Save the result of a step, or its progress so far."""
        self.outcomes[outcome.name] = outcome
        if outcome.status != "running":
            missed = [row["what"] for row in outcome.rows if row["met"] is False]
            more = f"; missed: {'; '.join(missed)}" if missed else ""
            self.say(f"{outcome.section}: {outcome.name} {outcome.status}, {outcome.seconds:.0f} s{more}")
            if outcome.log:
                print(outcome.log[-800:], file=sys.stderr, flush=True)
        self.write()

    def decide(self, words: str) -> None:
        """Save a decision of the script."""
        self.facts["decision"] = words
        self.say(words)
        self.write()

    def write(self) -> None:
        """Write all files except the study's records, which the study writes itself."""
        steps = [asdict(outcome) for outcome in self.outcomes.values()]
        results = self.facts | {"seconds": round(time.monotonic() - self.started, 1), "steps": steps}
        write_json(self.output / "results.json", results)
        write_text(self.output / "report.md", render(results))
        write_text(self.output / "log.txt", "\n".join(self.lines) + "\n")
        profiles = [f"== {step['name']}\n{step['facts']['kernels']}" for step in steps if "kernels" in step["facts"]]
        write_text(self.output / "profile.txt", "\n\n".join(profiles) + "\n")

    def pack(self) -> None:
        """Pack logs, findings, evaluations and run descriptions into one archive."""
        with replacing(self.output / "rest.tar.gz") as temporary, tarfile.open(temporary, "w:gz") as archive:
            for path in sorted(self.work.rglob("*")):
                if path.is_file() and path.name.endswith(KEPT) and "data" not in path.relative_to(self.work).parts[:1]:
                    content = path.read_bytes()
                    entry = tarfile.TarInfo(path.relative_to(self.work).as_posix())
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
