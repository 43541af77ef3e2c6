"""Leases between real processes, and the choice of a job's device on each kind of machine."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from clever.errors import UserError
from clever.execution.device import held_device
from clever.execution.leases import assigned, lease_folder, leased

HOLDER = """
import sys, time
from pathlib import Path
from clever.execution.leases import leased

folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
with leased(["a", "b", "c"], folder) as index:
    print(time.monotonic(), index, flush=True)
    time.sleep(seconds)
    end = time.monotonic()
print(end, flush=True)
"""


def start_holder(folder: Path, seconds: float) -> subprocess.Popen[str]:
    """Start a process that takes a GPU when it reads a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def test_eight_processes_share_three_gpus_without_double_booking(tmp_path: Path) -> None:
    processes = [start_holder(tmp_path, 0.3) for _ in range(8)]
    go(*processes)
    held: dict[int, list[tuple[float, float]]] = {}
    waited = 0
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        begin, index, end = output.split()
        held.setdefault(int(index), []).append((float(begin), float(end)))
        waited += errors.startswith("waiting for one of 3 GPUs, all held by other jobs (a: process ")
    assert sorted(held) == [0, 1, 2]
    assert sum(map(len, held.values())) == 8
    for spans in held.values():
        spans.sort()
        # All processes share the machine's clock: one holder has ended before the next begins.
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))
    assert waited  # eight at once, each for 0.3 s


def test_a_killed_process_frees_its_gpu(tmp_path: Path) -> None:
    process = start_holder(tmp_path, 600)
    go(process)
    assert process.stdout is not None
    index = int(process.stdout.readline().split()[1])
    assert index == 0
    with pytest.raises(UserError, match=r"none of 1 GPUs became free within 0\.1 s"), leased(["a"], tmp_path, 0.1):
        pass
    process.kill()
    process.communicate()
    with leased(["a"], tmp_path, patience=5) as freed:
        assert freed == 0


def test_a_lease_ends_with_its_block_even_when_the_job_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), leased(["a"], tmp_path):
        raise ZeroDivisionError
    with leased(["a"], tmp_path, patience=0) as index:
        assert index == 0


def test_an_impossible_lease_is_rejected_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no GPU to use"), leased([], tmp_path):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="GPUs cannot be leased here"), leased(["a"], tmp_path / "file"):
        pass


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No scheduler, no torchrun, and leases in the test's temporary folder."""
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "LOCAL_RANK", "RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    return monkeypatch


def show_gpus(monkeypatch: pytest.MonkeyPatch, identities: Sequence[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(identities))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(identities))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=identities[index]), raising=True
    )
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)


def test_auto_takes_the_next_free_gpu_whatever_its_local_number(clean_environment: pytest.MonkeyPatch) -> None:
    show_gpus(clean_environment, ["first", "second"])
    with held_device("auto") as device:
        assert device == torch.device("cuda:0")
        # Another job sees the same two GPUs in the opposite order.
        show_gpus(clean_environment, ["second", "first"])
        with held_device("auto") as other:
            assert other == torch.device("cuda:0")
        # GPUs that the user names are not leased.
        with held_device("cuda:1") as named:
            assert named == torch.device("cuda:1")
    assert sorted(path.name for path in lease_folder().iterdir()) == ["first.lock", "second.lock"]


def test_auto_without_a_gpu_is_the_cpu_and_one_line(
    clean_environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show_gpus(clean_environment, [])
    with held_device("auto") as device:
        assert device == torch.device("cpu")
    assert capsys.readouterr().err == "no GPU found: this job runs on the CPU\n"
    with held_device("cpu"):
        assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match="has 0 visible GPUs"), held_device("cuda"):
        pass
    assert not lease_folder().exists()


def test_under_a_scheduler_only_unassigned_gpus_are_leased(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("SLURM_JOB_ID", "17")
    clean_environment.setenv("CUDA_VISIBLE_DEVICES", "3")
    show_gpus(clean_environment, ["fourth"])
    assert assigned(1)
    with held_device("auto") as device:
        assert device.type == "cuda"
    assert not lease_folder().exists()
    # Two GPUs for a job with one process: several runs may share the allocation.
    show_gpus(clean_environment, ["fourth", "fifth"])
    with held_device("auto"):
        assert {path.name for path in lease_folder().iterdir()} == {"fourth.lock", "fourth.json"}  # and the holder


def test_processes_of_one_run_hold_a_gpu_each(clean_environment: pytest.MonkeyPatch) -> None:
    show_gpus(clean_environment, ["first", "second"])
    clean_environment.setenv("WORLD_SIZE", "2")
    clean_environment.setenv("LOCAL_WORLD_SIZE", "2")
    with held_device("auto") as one, held_device("auto") as two:
        assert {one.index, two.index} == {0, 1}
        clean_environment.setattr("clever.execution.device._SECONDS_FOR_SEVERAL", 0.0)
        with pytest.raises(UserError, match="none of 2 GPUs became free"), held_device("auto"):
            pass
    clean_environment.setenv("SLURM_JOB_ID", "17")
    clean_environment.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    clean_environment.setenv("LOCAL_RANK", "1")
    with held_device("auto") as assigned_one:
        assert assigned_one.index == 1


def test_an_untrusted_lease_folder_is_rejected(tmp_path: Path) -> None:
    """Any user can create a folder of any name in a shared temporary folder."""

    def refused(folder: Path, why: str) -> None:
        with (
            pytest.raises(UserError, match=f"{folder.name}: GPUs cannot be leased here, it {why}"),
            leased(["a"], folder),
        ):
            pass

    with leased(["a"], tmp_path / "mine"):
        assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    refused(tmp_path / "link", "is a link or a file, not a folder")
    (tmp_path / "mine").chmod(0o777)
    refused(tmp_path / "mine", r"is writable by others \(mode 777\); remove it, or set TMPDIR")
    (tmp_path / "mine").chmod(0o700)
    with leased(["a"], tmp_path / "mine"):
        pass
    if os.getuid() == 0:
        os.chown(tmp_path / "mine", 12345, -1)
        refused(tmp_path / "mine", "belongs to user 12345")
