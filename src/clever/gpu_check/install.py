"""Copy the measurements to the folders that are committed, and print the rows for benchmarks/README.md.

    python -m clever.gpu_check.install FOLDER [FOLDER ...]

FOLDER is the ``--output`` of a call on a card. Its report, numbers and profile go to
``paper_figures/measured/gpu_<card>``, and the records of its study to ``paper_figures/measured/<study>``, from where
every table and figure is drawn. Several folders are calls on the same card and commit (of the study, its further
seeds): their records are joined.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from clever.errors import UserError
from clever.files import write_bytes, write_json, write_text
from clever.gpu_check.benchmarks import checkout
from clever.gpu_check.report import render, table_row
from clever.results import records
from clever.results.curves import CURVE_KEY, read_curves, write_curves
from clever.results.run_description import write_runs
from clever.results.sums import SUMS, write_sums_of_committed

_PACKAGED = re.compile(r"(?<![\w.])/[^\s\"']*/((?:site|dist)-packages|src)/")
_ABSOLUTE = re.compile(r"(?<![\w.])/(?:[\w.+-]+/)+[\w.+-]+")


def card_name(gpu: str) -> str:
    """A short name for a folder: ``h100`` of "NVIDIA H100 80GB HBM3"."""
    words = re.sub(r"[^a-z0-9 ]", " ", gpu.lower()).split()
    model = [word for word in words if re.fullmatch(r"[a-z]*\d+[a-z]*", word) and not word.endswith("gb")]
    return model[0] if model else "_".join(words)


def read_results(folder: Path) -> dict[str, Any]:
    """The results.json of a call.

    Raises:
        UserError: the file is missing or damaged, or it is from a rehearsal or from an unknown or changed commit.
    """
    path = folder / "results.json"
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rehearsal, commit, dirty = results["rehearsal"], results["commit"], results["dirty"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: no results of clever.gpu_check ({error!r})") from error
    if rehearsal or not results["machine"].get("gpu"):
        raise UserError(f"{path}: a rehearsal on a CPU; only what a card has measured is committed")
    if dirty is not False or commit == "unknown":
        raise UserError(
            f"{path}: measured with commit {commit}, changed: {dirty}; only a known commit without changes is "
            "committed (set CLEVER_COMMIT and CLEVER_DIRTY=0 where the checkout has no .git)"
        )
    return results


def install(folders: list[Path], root: Path) -> list[Path]:
    """Copy and join the results; returns the files written.

    Args:
        folders: outputs of calls on one card at one commit.
        root: the folder ``paper_figures/measured``.

    Raises:
        UserError: see :func:`read_results`; or the folders are from different cards or commits, or their records
            disagree.
    """
    found = {folder: read_results(folder) for folder in folders}
    for key, values in (
        ("card", {results["machine"]["gpu"] for results in found.values()}),
        ("commit", {results["commit"] for results in found.values()}),
    ):
        if len(values) > 1:
            raise UserError(f"{', '.join(map(str, folders))}: differ in {key}: {', '.join(sorted(values))}")
    studies = {folder: _study(folder) for folder in folders if (folder / "records.csv").exists()}
    if len(set(studies.values())) > 1:
        raise UserError(
            f"{', '.join(map(str, studies))}: different studies, {', '.join(sorted(set(studies.values())))}"
        )
    card = root / f"gpu_{card_name(next(iter(found.values()))['machine']['gpu'])}"
    written = []
    for number, (folder, results) in enumerate(found.items(), start=1):
        suffix = "" if len(found) == 1 else f"_{number}"
        without_places(results)
        write_json(card / f"results{suffix}.json", results)
        write_text(card / f"report{suffix}.md", render(results))
        written += [card / f"results{suffix}.json", card / f"report{suffix}.md"]
        profile = folder / "profile.txt"
        if profile.exists() and profile.read_text(encoding="utf-8").strip():
            write_bytes(card / f"profile{suffix}.txt", profile.read_bytes())
            written.append(card / f"profile{suffix}.txt")
    if studies:
        written += _join(list(studies), root / next(iter(studies.values())))
    return written


def without_places(results: dict[str, Any]) -> None:
    """Shorten the paths in the logs of failed steps, because the folders of a machine are private.

    Files of packages keep their path from ``site-packages`` or ``src`` on; others keep only their name.
    """
    for step in results["steps"]:
        step["log"] = _PACKAGED.sub(r"\1/", step["log"] or "")
        step["log"] = _ABSOLUTE.sub(lambda found: found[0].rsplit("/", 1)[1], step["log"])


def _study(folder: Path) -> str:
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    names = [row["reference"] for step in results["steps"] for row in step["rows"] if row["what"] == "whole runs"]
    if not names:
        raise UserError(f"{folder}: has records but no step that says of which study")
    return str(names[-1])


def _join(folders: list[Path], target: Path) -> list[Path]:
    tables = [records.read_records(folder / "records.csv") for folder in folders]
    curves = []
    for folder in folders:
        plain = target / ".curves.csv"
        write_bytes(plain, gzip.decompress((folder / "curves.csv.gz").read_bytes()))
        curves.append(read_curves(plain))
        plain.unlink()
    runs: dict[str, Any] = {}
    for folder in folders:
        for run in json.loads((folder / "runs.json").read_text(encoding="utf-8")):
            runs.setdefault(run["run"], run)  # controls are in every call
    records.write_records(_joined(tables, records.KEY), target / "records.csv")
    write_runs([runs[name] for name in sorted(runs)], target / "runs.json")
    plain = target / ".curves.csv"
    write_curves(_joined(curves, CURVE_KEY), plain)
    write_bytes(target / "curves.csv.gz", gzip.compress(plain.read_bytes(), mtime=0))
    plain.unlink()
    write_sums_of_committed(target)
    return [target / name for name in ("records.csv", "runs.json", "curves.csv.gz", SUMS)]


def _joined(tables: list[pd.DataFrame], key: tuple[str, ...]) -> pd.DataFrame:
    """Join all rows; for a run in two calls (a control), the rows of the first call are kept."""
    seen: set[str] = set()
    kept = []
    for table in tables:
        kept.append(table[~table["run"].isin(seen)])
        seen |= set(table["run"])
    return pd.concat(kept).sort_values(list(key), ignore_index=True)


def speed_rows(results: dict[str, Any]) -> list[str]:
    """Lines of a table for benchmarks/README.md, with every speed row of a call."""
    lines = ["| benchmark | value | goal | measured by |", "|---|---|---|---|"]
    sharing = ("speed", "study")
    for step in results["steps"]:
        if step["section"] in sharing and step["name"] not in ("data", "study"):
            lines += [table_row(row) for row in step["rows"]]
    return lines


def main() -> int:
    """Install, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--root", type=Path, help="instead of the checkout's paper_figures/measured")
    arguments = parser.parse_args()
    try:
        for path in install(arguments.folders, arguments.root or checkout() / "paper_figures" / "measured"):
            print(f"written: {path}", file=sys.stderr)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for folder in arguments.folders:
        print("\n".join(speed_rows(read_results(folder))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
