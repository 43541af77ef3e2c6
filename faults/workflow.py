"""Snakemake killed while its trainer continues, and the workflow in a folder with an unusual name."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import yaml

from faults.bench import DATA, Bench, make_recipe, newest, sha256
from faults.row import Row, expect
from faults.studies import ROOT

RUN = make_recipe().run
_NAMES = ("study", "Zoë's study 数字", "another study")


def rows(bench: Bench, tries: int | None) -> list[Row]:
    """The orphaned trainer, each time in a folder with a different name."""
    return [
        Row(
            2,
            "SIGKILL of Snakemake while its trainer continues",
            "the second start names the running trainer and trains nothing; once the orphan has ended, the next start "
            "needs no step, with the same bits",
            [partial(_orphan, bench, name) for name in _NAMES[: tries or 3]],
        )
    ]


def study_of_the_run() -> str:
    """A study whose only run is the bench's, without its online probe, which does not change the weights."""
    recipe = make_recipe().model_dump(mode="json")
    study = {
        "study": "drill",
        "data": {recipe["data"]: DATA},
        "backbones": {recipe["backbone_name"]: recipe["backbone"]},
        "augmentations": {recipe["augmentation_name"]: recipe["augmentation"]},
        "methods": {recipe["method_name"]: recipe["method"]},
        "pretrainings": [
            {
                "data": recipe["data"],
                "backbones": [recipe["backbone_name"]],
                "methods": [recipe["method_name"]],
                "augmentations": [recipe["augmentation_name"]],
                "seeds": [recipe["seed"]],
                "optimisation": recipe["optimisation"],
            }
        ],
        "controls": [],
        "evaluations": {"knn": {"perturbations": ["orig"]}},
        "paper": ["figure_loss_terms", "report"],
    }
    return yaml.safe_dump(study)


def _orphan(bench: Bench, name: str, folder: Path) -> str:
    home = folder / name
    home.mkdir()
    (home / "study.yaml").write_text(study_of_the_run(), encoding="utf-8")
    output = home / "results" / "drill" / "runs" / RUN
    first = _start(home)
    _wait(lambda: newest(output) > 0 or first.poll() is not None, "the first state")
    trainer = json.loads((output / "state" / "owner.json").read_text())["pid"]
    os.kill(trainer, signal.SIGSTOP)  # stops it while the second start runs
    try:
        first.kill()
        first.wait()
        locked = _finish(_start(home))
        expect("--unlock" in locked, f"Snakemake does not say what to do: {locked[-600:]}")
        _finish(_start(home, "--unlock"))
        second = _start(home)
        refused = _finish(second)
        expect(second.returncode != 0, "the second start did not fail")
        said = next((line for line in refused.splitlines() if "another trainer is at work here" in line), "")
        expect(f"process {trainer} on " in said, f"the orphan is not named: {refused[-600:]}")
    finally:
        os.kill(trainer, signal.SIGCONT)
    _wait(lambda: not _alive(trainer), "the orphan's end")
    expect((output / "run.json").exists(), "the orphan did not finish its run")
    third = _start(home)
    text = _finish(third)
    log = (home / "results" / "drill" / "logs" / "pretrain" / f"{RUN}.log").read_text(encoding="utf-8")
    expect(third.returncode == 0, f"the third start failed: {text[-600:]} {log[-600:]}")
    untrained = "Nothing to be done" in text or "resumes at step 12 of 12" in log
    expect(untrained, f"it trained again: {text[-600:]} {log[-600:]}")
    found, wanted = (sha256(place / "backbone.safetensors") for place in (output, bench.reference))
    expect(found == wanted, f"sha256 is {found[:12]}, undisturbed it is {wanted[:12]}")
    return said.strip()


def _start(home: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1"]
    command += ["--directory", str(home), "--configfile", "study.yaml", "--workflow-profile", "none"]
    command += ["--rerun-incomplete", "--show-failed-logs", *words]
    if not words:
        command.append(f"results/drill/runs/{RUN}/run.json")
    return subprocess.Popen(command, cwd=home, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _finish(process: subprocess.Popen[str]) -> str:
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.communicate(timeout=150)[0]
    process.kill()
    return process.communicate()[0]


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        expect(time.monotonic() < deadline, f"timed out waiting for {what}")
        time.sleep(0.01)


def _alive(process: int) -> bool:
    # The orphan's new parent may not reap it at once, so it can remain a zombie for a while.
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
