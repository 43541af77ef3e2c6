"""Runs the rows of one group with the command of `make faults`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

from clever.config import parse_study
from faults.bench import make_recipe
from faults.workflow import RUN, study_of_the_run

ROOT = Path(__file__).resolve().parents[2]


def test_malicious_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "faults.run", "--only", "10", "--tries", "1", "--at-once", "1"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "faults.md")],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in (tmp_path / "faults.md").read_text().splitlines() if line.startswith("| ")][
        1:
    ]
    assert {row[0] for row in rows} == {"| 10"}
    assert all(row[2] == row[3] for row in rows)
    assert sum(int(row[2]) for row in rows) >= 7


def test_the_workflow_s_study_trains_the_drill_s_run() -> None:
    recipes = parse_study(yaml.safe_load(study_of_the_run()), "study").recipes()
    assert recipes == {RUN: make_recipe().model_copy(update={"online_probe": None})}
