"""A new figure is one script, one caption and one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from .conftest import PARTS

LINE = '    "figure_lines": Drawing(*_FIGURE, ("records", "runs"), published=False),\n'
SCRIPT = """
import argparse
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--records", type=Path)
parser.add_argument("--runs", type=Path)
parser.add_argument("--output", type=Path, nargs="+")
arguments = parser.parse_args()
for path in arguments.output:
    path.write_text(f"{path.suffix}: {len(arguments.records.read_text().splitlines())} lines")
"""


def test_a_new_figure_is_drawn(project: Path, tmp_path: Path) -> None:
    for name in PARTS:
        copy = shutil.copytree if (project / name).is_dir() else shutil.copy2
        copy(project / name, tmp_path / name)
    (tmp_path / "paper_figures" / "figure_lines.py").write_text(SCRIPT)
    (tmp_path / "workflow" / "report" / "figure_lines.rst").write_text("How many records there are.\n")
    table, before = tmp_path / "src" / "clever" / "drawings.py", '    "figure_robustness": Drawing('
    text = table.read_text(encoding="utf-8")
    assert text.count(before) == 1
    table.write_text(text.replace(before, LINE + before))
    study = yaml.safe_load((tmp_path / "workflow" / "studies" / "spirograph.yaml").read_text(encoding="utf-8"))
    (tmp_path / "spirograph.yaml").write_text(yaml.safe_dump(study | {"paper": ["figure_lines"]}))
    command = ["--cores", "1", "--configfile", "spirograph.yaml", "--config", "from_measured=true"]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *command],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    measured = tmp_path / "paper_figures" / "measured" / "spirograph" / "records.csv"
    count = len(measured.read_text(encoding="utf-8").splitlines())
    drawn = tmp_path / "results" / "spirograph" / "measured" / "paper"
    assert {path.name: path.read_text() for path in drawn.iterdir()} == {
        f"figure_lines{suffix}": f"{suffix}: {count} lines" for suffix in (".pdf", ".png", ".svg")
    }
