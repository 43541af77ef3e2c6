"""workflow/launch.sh: one process per GPU, and signals that reach all of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from .conftest import ROOT

LAUNCH = str(ROOT / "workflow" / "launch.sh")

TRAINER = """
import os, signal, sys, time
from pathlib import Path

folder, rank = Path(sys.argv[1]), os.environ["RANK"]

def save(number, frame):
    time.sleep(0.5)
    (folder / f"saved{rank}").write_text(os.environ["WORLD_SIZE"])
    sys.exit(75)

signal.signal(signal.SIGTERM, save)
(folder / f"started{rank}").touch()
time.sleep(600)
"""


def environment(*folders: Path) -> dict[str, str]:
    return os.environ | {
        "PATH": os.pathsep.join([*map(str, folders), str(Path(sys.executable).parent), os.environ["PATH"]])
    }


def test_with_at_most_one_gpu_the_command_runs_in_the_same_process() -> None:
    for gpus in ("0", "1"):
        command = [LAUNCH, gpus, "1", sys.executable, "-c", "import os; print(os.getpid(), os.environ.get('RANK'))"]
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
        output, _ = process.communicate(timeout=60)
        assert output.split() == [str(process.pid), "None"]


def test_on_a_signal_both_processes_of_a_run_save_before_they_end(tmp_path: Path) -> None:
    (tmp_path / "trainer.py").write_text(TRAINER)
    process = subprocess.Popen(
        [LAUNCH, "2", "1", sys.executable, str(tmp_path / "trainer.py"), str(tmp_path)],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 120
        while not all((tmp_path / f"started{rank}").exists() for rank in (0, 1)):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) != 0
    finally:
        process.kill()
    assert [(tmp_path / f"saved{rank}").read_text() for rank in (0, 1)] == ["2", "2"]


def test_several_machines_rendezvous_on_the_first_of_the_allocation(tmp_path: Path) -> None:
    stand_in = tmp_path / "srun"
    stand_in.write_text('#!/bin/sh\necho "$@"\n')
    stand_in.chmod(0o755)
    done = subprocess.run(
        [LAUNCH, "8", "2", "clever", "pretrain"],
        env=environment(tmp_path) | {"SLURM_JOB_ID": "1234567"},
        capture_output=True,
        text=True,
    )
    words = done.stdout.split()
    assert words[:4] == ["--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpu-bind=none"]
    assert {"--nnodes=2", "--nproc-per-node=4", f"--rdzv-endpoint={socket.gethostname()}:24567"} <= set(words)
    assert words[-2:] == ["clever", "pretrain"]


def test_gpus_that_the_machines_cannot_share_evenly_are_refused() -> None:
    done = subprocess.run([LAUNCH, "5", "2", "false"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: resources gpu=5 of rule pretrain is not a multiple of nodes=2\n"
