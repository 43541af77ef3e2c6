"""Studies with a mistake, given to the command line and to Snakemake."""

from __future__ import annotations

import copy
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from faults.bench import Bench
from faults.job import Job
from faults.row import Row, Try, expect

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_name("wrong_studies.yaml")
DOOMED = Path(__file__).with_name("doomed_studies.yaml")


def rows(bench: Bench, tries: int | None) -> list[Row]:
    """Every wrong study of the table with `clever check`, a few with Snakemake, and missing data roots."""
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    wrong = table["wrong"]
    expected = "one line names the file, the key and what would be right, before any job"
    checked = [partial(_checked, _changed(table["right"], row), row["message"]) for row in wrong][:tries]
    planned = [partial(_planned, _changed(table["right"], row), row["message"]) for row in (wrong[1], wrong[24])]
    absent = [partial(_absent, bench, source) for source in ("arrays", "image_folder", "cifar10")]
    doomed = yaml.safe_load(DOOMED.read_text(encoding="utf-8"))
    ends_badly: list[Try] = [
        partial(_doomed, _doomed_text(doomed["right"], row), row["message"]) for row in doomed["wrong"]
    ]
    return [
        Row(8, "a wrong study: `clever check`", expected, checked),
        Row(
            8,
            "a study whose valid keys contradict each other: `clever check`",
            "one line, from the file alone, before any job",
            ends_badly[:tries],
        ),
        Row(8, "a wrong study: `snakemake`", expected, planned[:tries]),
        Row(8, "a data root that is not there: `clever prepare`", "one line names it", absent[:tries]),
    ]


def _doomed_text(right: str, row: dict[str, Any]) -> str:
    if "text" in row:
        old, new = row["text"]
        return right.replace(old, new)
    study: Any = yaml.safe_load(right)
    for keys, value in row["changes"]:
        inner = study
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
    return yaml.safe_dump(study, sort_keys=False)


def _doomed(text: str, message: str, folder: Path) -> str:
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    job = Job(["check", "study.yaml"], folder / "check.log")
    said = job.must_refuse("study.yaml: ", message)
    expect(job.lines() == [said], f"more than one line: {job.said}")
    return said


def _changed(right: str, row: dict[str, Any]) -> dict[str, Any]:
    study: Any = copy.deepcopy(yaml.safe_load(right))
    inner = study
    for key in row["key"][:-1]:
        inner = inner[key]
    if row.get("removed"):
        del inner[row["key"][-1]]
    else:
        inner[row["key"][-1]] = row["value"]
    return dict(study)


def _checked(study: dict[str, Any], message: str, folder: Path) -> str:
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    job = Job(["check", folder / "study.yaml"], folder / "check.log")
    said = job.must_refuse("study.yaml: ", message)
    expect(job.lines() == [said], f"more than one line: {job.said}")
    return said


def _planned(study: dict[str, Any], message: str, folder: Path) -> str:
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1"]
    command += ["--directory", str(folder), "--configfile", "study.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=200)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    errors = [line for line in lines if "error: " in line]
    expect(done.returncode != 0, "Snakemake accepted it")
    expect(len(errors) == 1 and message in errors[0], f"not one line with the message: {lines}")
    expect("Traceback" not in "".join(lines), f"a traceback: {lines}")
    expect(not (folder / "results").exists(), "a job was started")
    return errors[0]


def _absent(bench: Bench, source: str, folder: Path) -> str:
    options = {"source": source, "root": str(folder / "nowhere"), "image_size": 32}
    said = bench.prepare(options, folder / "store", folder).must_refuse("nowhere")
    expect(not (folder / "store").exists(), "a store was written")
    return said
