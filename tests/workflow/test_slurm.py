"""A study on a real one-node Slurm: a run is pre-empted, resubmitted and resumed, and its records equal a local run's
bit for bit.

The cluster has a temporary folder and separate ports, and is stopped at the end of the test. Its GPU is a stand-in
(/dev/null), which Slurm assigns like a real one.
"""

from __future__ import annotations

import csv
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ..miniature import changed, miniature

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo")
# Debian keeps daemons in folders that are only on root's path.
SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])

HEAD = {"name": "dino", "out_dim": 16, "hidden_dim": 16, "bottleneck_dim": 8}


def study_of(name: str, epochs: int = 60) -> str:
    """The miniature study without controls, and with a second, long run of another method."""
    study = yaml.safe_load(miniature(study=name, controls=[], methods={"dino": {"baseline": HEAD}}))
    (block,) = study["pretrainings"]
    study["pretrainings"] = [block | {"methods": ["dino"]}, changed(block, {"optimisation": {"epochs": epochs}})]
    return yaml.safe_dump(study)


LONG_RUN = "digits/tiny/dino+clever/caug/seed0"

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/node
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=200000 Gres=gpu:1 State=UNKNOWN
PartitionName=long Nodes={host} Default=YES State=UP PriorityTier=1 GraceTime=60
PartitionName=short Nodes={host} State=UP PriorityTier=1
PartitionName=urgent Nodes={host} State=UP PriorityTier=2
"""


@dataclass(frozen=True)
class Cluster:
    """A running Slurm cluster: the environment that its commands need."""

    environment: dict[str, str]

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)

    def call(self, *command: str) -> str:
        done = self.ask(*command)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout


def wait_for(condition: Callable[[], bool], what: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.2)


def missing_program() -> str | None:
    absent = [name for name in PROGRAMS if shutil.which(name, path=SEARCH) is None]
    return absent[0] if absent else None


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A one-node Slurm cluster with one stand-in GPU. It stops its daemons and their jobs at the end."""
    if (absent := missing_program()) is not None:
        pytest.skip(f"{absent} is not installed (Debian: apt-get install slurm-wlm munge)")
    if os.geteuid() != 0:
        pytest.skip("a Slurm of one's own needs root")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("controller", "node", "bin"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    host = socket.gethostname().split(".")[0]
    controller_port, node_port = free_ports(2)
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(host=host, folder=folder, controller_port=controller_port, node_port=node_port)
    )
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu Count=1 File=/dev/null\n")
    # Snakemake's job step drops every SLURM_ variable before it calls srun, also the one that says where the
    # configuration is; on a cluster that is /etc/slurm.
    srun = folder / "bin" / "srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={configuration} exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)
    environment = os.environ | {
        "SLURM_CONF": str(configuration),
        "PATH": os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), SEARCH]),
        "OMP_NUM_THREADS": "1",
    }
    files = {
        "socket": folder / "munge.socket",
        "key-file": key,
        "pid-file": folder / "munged.pid",
        "log-file": folder / "munged.log",
        "seed-file": folder / "munged.seed",
    }
    munged = ["munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in files.items())]
    daemons: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        with (folder / f"{command[0]}.out").open("wb") as output:
            program = shutil.which(command[0], path=SEARCH)
            assert program is not None
            daemons.append(
                subprocess.Popen([program, *command[1:]], env=environment, stdout=output, stderr=subprocess.STDOUT)
            )

    running = Cluster(environment)
    try:
        start(*munged)
        wait_for(files["socket"].exists, "munged's socket", 20)
        start("slurmctld", "-D")
        start("slurmd", "-D")
        wait_for(
            lambda: running.ask("sinfo", "-h", "-o", "%T").stdout.split() == ["idle"],
            f"an idle node (see {folder}/slurm*.out)",
            60,
        )
        yield running
    finally:
        # Jobs first, because without the daemons they would never end.
        subprocess.run(["scancel", "--full", "--signal=KILL", "--user=root"], env=environment, capture_output=True)
        subprocess.run(["scancel", "--user=root"], env=environment, capture_output=True)
        with suppress(AssertionError):
            wait_for(lambda: not running.ask("squeue", "-h").stdout, "the end of all jobs", 40)
        for daemon in reversed(daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in daemons:
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def measured(records: Path) -> list[dict[str, str]]:
    """All entries of a record except for its provenance and time."""
    with records.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True)
class Limited:
    """A pre-training that is far too long for its time limit, submitted by hand as a job."""

    folder: Path
    command: list[str]
    environment: dict[str, str]


@pytest.fixture(scope="module")
def limited(cluster: Cluster, project: Path) -> Limited:
    """Submit it; it reaches its time limit while the test below is running.

    The limit is two minutes, because Slurm may send the warning up to a minute early, and the trainer needs seconds to
    start.
    """
    environment = cluster.environment | {"PYTHONPATH": str(project / "src")}
    rule = (project / "workflow" / "rules" / "pretrain.smk").read_text(encoding="utf-8")
    (flag,) = re.findall(r'slurm_extra="(--signal=TERM@)\d+"', rule)
    folder = project / "limited"
    folder.mkdir()
    study = folder / "study.yaml"
    study.write_text(study_of("limited", epochs=100_000))
    clever = str(Path(sys.executable).parent / "clever")
    store = ["--study", str(study), "--data", "digits", "--output", str(folder / "store")]
    subprocess.run([clever, "prepare", *store], env=environment, check=True, capture_output=True, timeout=120)
    where = ["--store", str(folder / "store"), "--output", str(folder / "run"), "--threads", "1"]
    command = [clever, "pretrain", "--study", str(study), "--run", LONG_RUN, *where]
    step = f"srun --output={folder}/log {shlex.join(command)}"
    options = ("--partition=short", "--time=2", "--output=/dev/null", f"--chdir={folder}", f"{flag}20")
    done = subprocess.run(
        ["sbatch", *options, f"--wrap={step}; echo $? > status"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return Limited(folder, command, environment)


@pytest.mark.usefixtures("limited")
def test_a_preempted_run_resumes_and_its_records_equal_a_local_run_s(project: Path, cluster: Cluster) -> None:
    environment = cluster.environment | {"PYTHONPATH": str(project / "src")}
    (project / "here.yaml").write_text(study_of("here"))
    (project / "cluster.yaml").write_text(study_of("cluster"))
    results = project / "results"

    def start(study: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "snakemake", f"results/{study}/records.csv", "--configfile", f"{study}.yaml"]
        with (project / f"{study}.out").open("wb") as output:
            return subprocess.Popen(
                [*command, *arguments], cwd=project, env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    def finish(process: subprocess.Popen[bytes], study: str) -> str:
        process.wait(timeout=600)
        output = (project / f"{study}.out").read_text()
        assert process.returncode == 0, output
        return output

    submitted = start(
        "cluster",
        *("--workflow-profile", "workflow/profiles/slurm", "--slurm-init-seconds-before-status-checks", "1"),
        *("--set-threads", "prepare=1", "pretrain=1", "evaluate=1"),
        *("--max-jobs-per-timespan", "300/3s"),  # otherwise, the exit would wait for the profile's minute
        *("--set-resources", "pretrain:slurm_partition=long", "evaluate:slurm_partition=short"),
    )
    try:
        metrics = results / "cluster" / "runs" / LONG_RUN / "state" / "metrics.csv"
        wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") > 2, "two epochs of the long run", 900)
        # A job with higher priority needs the GPU.
        cluster.call("sbatch", "--partition=urgent", "--gpus=1", "--output=/dev/null", "--wrap=true")
        finish(start("here", "--cores", "1"), "here")
        output = finish(submitted, "cluster")
    finally:
        submitted.kill()

    log = (results / "cluster" / "logs" / "pretrain" / f"{LONG_RUN}.log").read_text()
    assert "resumes at step" in log, log
    assert output.count("Trying to restart job") == 1, output
    jobs = sorted(
        tuple(line.split("|")) for line in cluster.call("squeue", "-ht", "all", "-o", "%P|%m|%T").splitlines()
    )
    # One job failed, the pre-empted one; its second submission requested more memory.
    trained = [job for job in jobs if job[0] == "long" and job[1] != "32000M"]
    assert trained == [
        ("long", "48000M", "COMPLETED"),
        ("long", "48000M", "FAILED"),
        ("long", "96000M", "COMPLETED"),
    ], jobs
    assert jobs.count(("short", "48000M", "COMPLETED")) == 2, jobs  # the evaluations, in their own queue

    records = measured(results / "cluster" / "records.csv")
    assert len({record["run"] for record in records}) == 2
    assert records == measured(results / "here" / "records.csv")


def test_a_run_that_reaches_its_time_limit_saves_its_state_and_continues_from_it(limited: Limited) -> None:
    wait_for((limited.folder / "status").exists, "the time limit", 600)
    log = (limited.folder / "log").read_text()
    # The shell received the trainer's exit status: the warning reached the trainer and did not end the shell.
    assert (limited.folder / "status").read_text() == "75\n", log
    (step,) = re.findall(r"SIGTERM at step (\d+); the state is saved", log)
    with (limited.folder / "again").open("wb") as output:
        again = subprocess.Popen(limited.command, env=limited.environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        resumed = f"resumes at step {step} of "
        wait_for(lambda: resumed in (limited.folder / "again").read_text(), "the second start", 600)
    finally:
        again.send_signal(signal.SIGTERM)
    assert again.wait(timeout=60) == 75
