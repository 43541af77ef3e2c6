"""The sbatch command of a pre-training, as the locked Slurm plugin writes it; a stand-in for ``sbatch`` records it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Snakemake

pytest.importorskip("snakemake_executor_plugin_slurm", reason="needs the executor plugin of the extra [workflow]")

RUN = "results/mini/runs/digits/tiny/dino+clever/caug/seed0/run.json"


@pytest.fixture(scope="module")
def submitted(project: Path, snakemake: Snakemake, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """The sbatch command of the miniature study's training run under given ``--set-resources``."""
    folder = tmp_path_factory.mktemp("submission")
    recorded = folder / "recorded"
    programs = folder / "bin"
    programs.mkdir()
    for name in ("sbatch", "sinfo", "squeue", "sacct", "sacctmgr"):
        script = f'echo "sbatch $*" >> {recorded}; exit 1' if name == "sbatch" else "true"
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    study = ("--configfile", str(project / "mini.yaml"), "--directory", str(folder / "work"))
    prepared = snakemake(*study, "--cores", "1", "results/mini/data/digits/store.json")
    assert prepared.returncode == 0, prepared.stdout

    def submit(*resources: str) -> str:
        refused = snakemake(
            *(*study, RUN, "--workflow-profile", str(project / "workflow/profiles/slurm"), "--retries", "0"),
            *("--default-resources", "slurm_partition=gpus", "--max-jobs-per-timespan", "300/3s"),
            *("--slurm-init-seconds-before-status-checks", "1"),
            *(("--set-resources", *resources) if resources else ()),
            path=[programs],
        )
        assert refused.returncode != 0
        assert recorded.exists(), refused.stdout[-2000:]
        command = recorded.read_text().split(" --wrap", 1)[0]
        recorded.unlink()
        return command

    return submit


def option(command: str, name: str) -> list[str]:
    """All values of an option of a command."""
    return re.findall(rf"--{name}[= ](\S+)", command)


def test_two_machines_get_one_task_each(submitted: Callable[..., str]) -> None:
    command = submitted("pretrain:gpu=8", "pretrain:nodes=2", "pretrain:mpi=srun", "pretrain:tasks=2")
    assert option(command, "nodes") == ["2"]
    assert option(command, "ntasks") == ["2"]
    assert option(command, "ntasks-per-gpu") == []
    assert option(command, "gpus") == ["8"]
    assert option(command, "signal") == ["TERM@120"]


def test_four_gpus_of_one_machine_ask_for_no_task_geometry(submitted: Callable[..., str]) -> None:
    command = submitted("pretrain:gpu=4")
    assert option(command, "nodes") == ["1"]
    assert option(command, "gpus") == ["4"]
    assert option(command, "ntasks-per-gpu") == option(command, "ntasks") == []
