"""The contents of a study's crate: its files, their names in the crate, and the study's records and runs."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

import clever
from clever.config import Study, load_study
from clever.data.verification import file_sha256
from clever.drawings import DRAWINGS
from clever.errors import UserError
from clever.parsing import foreign
from clever.results.records import read_records
from clever.results.run_description import RunDescription, read_run, read_runs
from clever.results.sums import COLLECTED, SUMS

WORKFLOW = "workflow/Snakefile"
"""The crate's main workflow."""
SHARED = ("Snakefile", WORKFLOW, "environment.yml", "environment.post-deploy.sh", "requirements.lock")
"""Files of the checkout that define how the study is run. They are in the crate under the same names."""
LICENCE, CITATION = "LICENSE", "CITATION.cff"
RESULTS = "results"
"""Folder of the crate with the study's results."""
STUDY, README = "study.yaml", "README.md"
BACKBONE = "backbone.safetensors"


@dataclass
class Contents:
    """The files of a crate, by their paths in it, and the data read from them."""

    study: Study
    files: dict[str, Path | bytes] = field(default_factory=dict)
    """Path in the crate (with ``/``) to the file, or to the content of a file that is committed compressed."""
    runs: list[RunDescription] = field(default_factory=list)
    records: pd.DataFrame = field(default_factory=pd.DataFrame)
    stores: dict[str, str] = field(default_factory=dict)
    """For each data set, the path in the crate of its store's description."""
    left_out: list[str] = field(default_factory=list)
    """Drawings that exist but are not in the crate, because they show images of a data set."""

    def under(self, folder: str) -> list[str]:
        """Paths in the crate that are below ``folder``, sorted."""
        return sorted(path for path in self.files if path.startswith(f"{folder}/"))


def checkout() -> Path:
    """The folder with ``workflow/Snakefile``: the checkout of this package, else the working folder.

    Raises:
        UserError: neither has it, because the package was installed without the workflow.
    """
    for folder in (Path(clever.__file__).resolve().parents[2], Path()):
        if (folder / WORKFLOW).is_file():
            return folder
    raise UserError(
        f"--crate: needs {WORKFLOW}, which an installed package lacks; run it in a checkout of the repository"
    )


def gather(results: Path, study_file: Path | None, weights: bool = False) -> Contents:
    """Collect the files of a study and read its records and runs, which verifies their checksums.

    Images are left out: prepared stores, pictures that protocols keep, and the drawings that show them.

    Args:
        results: the study's results folder, ``results/<study>``, its folder ``measured``, or a folder of committed
            records, ``paper_figures/measured/<study>``.
        study_file: the study; None to find it by the folder's name in config.yaml or ``workflow/studies``.
        weights: include the backbones.

    Raises:
        UserError: a file is missing or damaged, or the study is not the one that the results belong to.
    """
    if not results.is_dir():
        raise UserError(f"{results}: is not a folder; --crate needs the results folder of one study, results/<study>")
    source = checkout()
    found = study_file or _study_of(results, source)
    contents = Contents(load_study(found))
    contents.files = {STUDY: found}
    for name in (*SHARED, LICENCE, CITATION):
        if not (source / name).is_file():
            raise UserError(f"{source / name}: no such file; restore it from the repository")
        contents.files[name] = source / name
    rules = sorted((source / "workflow" / "rules").glob("*.smk"))
    captions = [source / "workflow" / "report" / f"{item}.rst" for item in contents.study.paper]
    for path in [*rules, *captions]:
        contents.files[path.relative_to(source).as_posix()] = path
    _add_collected(contents, results)
    _read_collected(contents, results, found)
    _add_jobs(contents, results, weights)
    _add_drawings(contents, results)
    return contents


def _study_of(results: Path, source: Path) -> Path:
    """The study file of a results folder, by the folder's name."""
    folder = results.resolve()
    name = folder.parent.name if folder.name == "measured" else folder.name
    usual = [source / "workflow" / "studies" / f"{name}.yaml", source / "config.yaml"]
    for path in usual:
        if path.is_file() and load_study(path).study == name:
            return path
    raise UserError(f"{results}: no study {name} in workflow/studies or config.yaml; name its file with --study")


def _add_collected(contents: Contents, results: Path) -> None:
    """Add records, runs and curves, unpacking those that are committed compressed."""
    for name in (*COLLECTED, SUMS):
        path = results / name
        packed = path.with_name(f"{name}.gz")
        if path.is_file():
            contents.files[f"{RESULTS}/{name}"] = path
        elif packed.is_file():
            with foreign(packed, "cannot be unpacked"):
                contents.files[f"{RESULTS}/{name}"] = gzip.decompress(packed.read_bytes())
        elif name in ("records.csv", "runs.json"):
            raise UserError(f"{path}: no such file; the study is not finished, or this is not its results folder")


def _read_collected(contents: Contents, results: Path, study_file: Path) -> None:
    """Read records and runs; every run must be one of the study."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for path in contents.under(RESULTS):
            held = contents.files[path]
            (folder / Path(path).name).write_bytes(held if isinstance(held, bytes) else held.read_bytes())
        try:
            contents.records = read_records(folder / "records.csv")
            contents.runs = read_runs(folder / "runs.json")
        except UserError as error:
            raise UserError(str(error).replace(str(folder), str(results))) from None
    planned = contents.study.recipes()
    for run in contents.runs:
        if run["run"] not in planned:
            raise UserError(
                f"{results / 'runs.json'}: {run['run']} is not a run of {study_file}; name the study that measured it "
                "with --study"
            )


def _add_jobs(contents: Contents, results: Path, weights: bool) -> None:
    """Add the files that individual jobs wrote to a results folder, if this is one: descriptions, metrics, evaluations,
    weights."""
    for run in contents.runs:
        folder, here = results / "runs" / run["run"], f"{RESULTS}/runs/{run['run']}"
        if (folder / "run.json").is_file() and read_run(folder / "run.json") != run:
            raise UserError(f"{folder / 'run.json'}: differs from its entry in {results / 'runs.json'}; collect again")
        for name in ("run.json", "metrics.csv", *([BACKBONE] if weights else [])):
            if (folder / name).is_file():
                contents.files[f"{here}/{name}"] = folder / name
            elif name == BACKBONE:
                raise UserError(f"{folder / name}: no such file; leave --weights out for a study without weights")
        if weights and file_sha256(folder / BACKBONE) != run.get("backbone_sha256"):
            raise UserError(f"{folder / BACKBONE}: its SHA-256 is not the one in {results / 'runs.json'}; train again")
        for path in sorted((results / "evaluations" / run["run"]).glob("*.json")):
            contents.files[f"{RESULTS}/evaluations/{run['run']}/{path.name}"] = path
    for path in sorted((results / "data").glob("*/store.json")):
        contents.stores[path.parent.name] = f"{RESULTS}/data/{path.parent.name}/store.json"
        contents.files[contents.stores[path.parent.name]] = path


def _add_drawings(contents: Contents, results: Path) -> None:
    """Add tables, figures and the report, without those that show images of a data set."""
    showing = {item for item in contents.study.paper if DRAWINGS[item].uncommitted}
    if showing:
        showing |= {item for item in contents.study.paper if DRAWINGS[item].embeds}
    for item in contents.study.paper:
        for suffix in DRAWINGS[item].suffixes:
            path = results / "paper" / f"{item}{suffix}"
            if path.is_file() and item in showing:
                contents.left_out.append(f"paper/{path.name}")
            elif path.is_file():
                contents.files[f"{RESULTS}/paper/{path.name}"] = path
