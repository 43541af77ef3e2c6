"""Another workflow, in another folder, loads this one with Snakemake's module mechanism."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from clever.config import parse_study

from ..miniature import MINIATURE
from .conftest import planned_jobs

OUTER = """
configfile: "config.yaml"


module clever:
    snakefile:
        "SNAKEFILE"
    config:
        config["clever"]


use rule * from clever as clever_*


rule summary:
    default_target: True
    input:
        rules.clever_all.input,
        "results/mini/records.csv",
    output:
        "summary.txt",
    shell:
        "cp results/mini/records.csv {output}"
"""


def _plan(folder: Path, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "rules", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(project / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )


def _outer(folder: Path, project: Path, study: object, snakefile: str = "Snakefile") -> None:
    path = os.path.relpath(project / snakefile, folder)
    (folder / "Snakefile").write_text(OUTER.replace("SNAKEFILE", path))
    # It has the same name as the demo's file, but is not a study.
    (folder / "config.yaml").write_text(yaml.safe_dump({"other": 1, "clever": study}))


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_another_workflow_plans_a_study(project: Path, tmp_path: Path, snakefile: str) -> None:
    _outer(tmp_path, project, yaml.safe_load(MINIATURE), snakefile)
    planned = _plan(tmp_path, project)
    assert planned.returncode == 0, planned.stdout
    study = {"prepare": 1, "pretrain": 2, "evaluate": 2, "collect": 1}
    study |= dict.fromkeys(map(str, parse_study(yaml.safe_load(MINIATURE), "mini").paper), 1)
    expected = {f"clever_{rule}": count for rule, count in study.items()} | {"summary": 1}
    assert planned_jobs(planned.stdout) == expected


def test_a_configuration_file_on_the_command_line_is_not_read_as_a_study(project: Path, tmp_path: Path) -> None:
    _outer(tmp_path, project, yaml.safe_load(MINIATURE))
    (tmp_path / "other.yaml").write_text("{other: 2}")
    planned = _plan(tmp_path, project, "--configfile", "other.yaml")
    assert planned.returncode == 0, planned.stdout
    assert planned_jobs(planned.stdout)["clever_pretrain"] == 2


def test_a_wrong_study_of_a_module_ends_in_one_line(project: Path, tmp_path: Path) -> None:
    _outer(tmp_path, project, yaml.safe_load(MINIATURE) | {"contrlos": []})
    planned = _plan(tmp_path, project)
    assert planned.returncode != 0
    errors = [line for line in planned.stdout.splitlines() if line.startswith("error: ")]
    assert errors == ["error: the module's config: contrlos: unknown key; did you mean 'controls'?"]
    assert "Traceback" not in planned.stdout
