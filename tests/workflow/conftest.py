"""A copy of the project whose files tests may edit, with a finished miniature study inside."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ..miniature import MINIATURE

pytest.importorskip("snakemake", reason="the workflow needs the extra [workflow]")

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    *("Snakefile", "config.yaml", "environment.yml", "environment.post-deploy.sh"),
    *("profiles", "workflow", "src", "paper_figures"),
)

Snakemake = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workflow, the package and the scripts, with mini.yaml."""
    folder = tmp_path_factory.mktemp("project")
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy2(ROOT / name, folder / name)
    (folder / "mini.yaml").write_text(MINIATURE)
    return folder


@pytest.fixture(scope="session")
def snakemake(project: Path) -> Snakemake:
    """Run Snakemake in the copied project, as a user does; return its exit status and output."""

    def run(*arguments: str, path: Sequence[Path] = (), timeout: float = 300) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PYTHONPATH": str(project / "src"),
            "PATH": os.pathsep.join([*map(str, path), os.environ["PATH"]]),
        }
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=project,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="session")
def finished(project: Path, snakemake: Snakemake) -> Path:
    """The results of the miniature study, after all its jobs have run."""
    done = snakemake("--cores", "2", "--configfile", "mini.yaml")
    assert done.returncode == 0, done.stdout
    return project / "results" / "mini"


def planned_jobs(output: str) -> dict[str, int]:
    """The number of jobs by rule, from the table that a dry run prints; empty if there is nothing to do."""
    if "Nothing to be done" in output:
        return {}
    table = output.split("Job stats:", 1)[1].split("\n\n", 1)[0].splitlines()[3:]
    return {rule: int(count) for rule, count in (line.split() for line in table) if rule not in ("all", "total")}
