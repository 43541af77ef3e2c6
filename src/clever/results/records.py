"""Records: every measured number with everything that produced it, and the tidy tables made of them.

One evaluation writes one JSON file (``evaluations/<run id>/<protocol>.json``). A study's files are collected into
``records.csv``, its runs' ``metrics.csv`` into ``curves.csv`` and its ``run.json`` into ``runs.json``. The same
inputs give the same bytes, in whatever order they are named.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

import pandas as pd
from pydantic import ConfigDict, TypeAdapter, ValidationError

from clever.errors import UserError
from clever.files import write_json, write_text
from clever.parsing import decode_json, foreign, require_regular
from clever.results.differing import first_difference, value_at
from clever.results.run_description import is_sealed, read_run
from clever.sealed import check_seal, sealed

FORMAT = 2
"""Of evaluation files. 1: without a checksum of their own content; still read."""


@dataclass(frozen=True)
class RunIdentity:
    """The run that a record speaks of: its five axes and where it came from."""

    data: str
    backbone: str
    method: str
    augmentation: str
    seed: int
    commit: str = ""
    recipe_digest: str = ""
    data_checksum: str = ""

    @property
    def run(self) -> str:
        """The run's id, for example ``cifar10/resnet18/dino+clever/caug/seed0``."""
        return f"{self.data}/{self.backbone}/{self.method}/{self.augmentation}/seed{self.seed}"

    @classmethod
    def is_run(cls, text: str) -> bool:
        """Whether a text reads as a run id."""
        try:
            cls.parse(text)
        except UserError:
            return False
        return True

    @classmethod
    def parse(cls, run: str) -> RunIdentity:
        """The axes of a run id; the origin stays empty. Raises UserError when it is no run id."""
        axes = run.split("/")
        digits = axes[-1].removeprefix("seed")
        if len(axes) != 5 or not all(axes) or digits == axes[-1] or not (digits.isascii() and digits.isdigit()):
            raise UserError(f"{run!r} is no run id: it must read data/backbone/method/augmentation/seed<number>")
        return cls(axes[0], axes[1], axes[2], axes[3], int(digits))

    def record(
        self,
        *,
        protocol: str,
        part: str,
        perturbation: str,
        metric: str,
        value: float,
        n: int,
        selection: Literal["last", "best"] = "last",
        epoch: int = 0,
    ) -> Record:
        """A record of this run."""
        return Record(
            run=self.run,
            data=self.data,
            backbone=self.backbone,
            method=self.method,
            augmentation=self.augmentation,
            seed=self.seed,
            protocol=protocol,
            part=part,
            perturbation=perturbation,
            metric=metric,
            value=value,
            n=n,
            selection=selection,
            epoch=epoch,
            commit=self.commit,
            recipe_digest=self.recipe_digest,
            data_checksum=self.data_checksum,
        )


@dataclass(frozen=True)
class Record:
    """One measured number. The fields, in this order, are the columns of ``records.csv``.

    ``value`` is in the metric's own unit over ``n`` test images, views or pairs: percent, 0 to 100, for ``top1``,
    ``top5`` and ``balanced_accuracy_*``; a fraction, at most 1, for ``r2_*``, ``mrr``, ``hit_at_*`` and ``pre_*``; the
    square of a target's unit for ``mse_*``.
    ``selection`` is ``last`` for the final classifier; ``best`` is the highest value over the epochs as measured on
    the test images themselves, which is what the authors print (eval_linear.py:326,347). ``epoch`` counts the epochs
    that the classifier had been trained for; 0 where nothing is trained.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    run: str
    data: str
    backbone: str
    method: str
    augmentation: str
    seed: int
    protocol: str
    part: str
    perturbation: str
    metric: str
    value: float
    n: int
    selection: Literal["last", "best"]
    epoch: int
    commit: str
    recipe_digest: str
    data_checksum: str


COLUMNS = tuple(field.name for field in fields(Record))
KEY = ("data", "backbone", "method", "augmentation", "seed", "protocol", "part", "perturbation", "metric", "selection")
CURVE_COLUMNS = ("run", "data", "backbone", "method", "augmentation", "seed", "epoch", "metric", "value")
CURVE_KEY = ("data", "backbone", "method", "augmentation", "seed", "metric", "epoch")
_NUMBERS = {"seed": "int64", "n": "int64", "epoch": "int64", "value": "float64"}
_TEXT_METRICS = frozenset({"health"})


@dataclass(frozen=True)
class Evaluation:
    """The content of one evaluation file. ``provenance`` is free: versions, hardware, options, wall time.

    ``content_sha256`` is the file's checksum of everything else in it (``clever.sealed``); None in format 1.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    format: int
    provenance: dict[str, Any]
    records: list[Record]
    content_sha256: str | None = None


_EVALUATION = TypeAdapter(Evaluation)


def write_evaluation(path: Path, records: Sequence[Record], provenance: dict[str, Any]) -> None:
    """Write one evaluation file atomically. Raises UserError when a value is not finite."""
    for record in records:
        if not math.isfinite(record.value):
            raise UserError(
                f"{path}: {record.metric} of {record.run} ({record.part}, {record.perturbation}) is not finite"
            )
    content = {"format": FORMAT, "provenance": provenance, "records": [asdict(record) for record in records]}
    write_json(path, sealed(content))


def read_evaluation(path: Path, *, verify: bool = True) -> Evaluation:
    """Read one evaluation file and, unless ``verify`` is False, compare it with its checksum.

    Raises UserError naming the file when it is missing, damaged, changed or of another format.
    """
    content = _read(path)
    try:
        evaluation = _EVALUATION.validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise UserError(f"{path} is no evaluation file: {where + ': ' if where else ''}{first['msg']}") from None
    if evaluation.format not in (1, FORMAT):
        raise UserError(f"{path} has format {evaluation.format}, this version reads 1 and {FORMAT}: evaluate again")
    if verify and evaluation.format == FORMAT:
        check_seal(decode_json(content, path), path, "restore the file, or evaluate again")
    return evaluation


def collect(paths: Iterable[Path], runs: Sequence[Mapping[str, Any]] = ()) -> pd.DataFrame:
    """All records of some evaluation files, one row each, sorted, in the columns of `Record`.

    A record that two files hold in exactly the same words counts once. ``runs`` are the descriptions of the runs
    (`collect_runs`), with which each file's own copy is compared.

    Raises UserError when two records of the same thing differ, naming both files, and where an evaluation was made of
    another run than the one described, naming the key and both values.
    """
    seen: dict[tuple[object, ...], tuple[Record, Path]] = {}
    described = {str(run["run"]): run for run in runs}
    unsealed: list[Path] = []
    for path in sorted(paths):
        evaluation = read_evaluation(path)
        if evaluation.content_sha256 is None:
            unsealed.append(path)
        _compare_with_run(path, evaluation, described)
        for record in evaluation.records:
            key = tuple(getattr(record, name) for name in KEY)
            earlier, source = seen.setdefault(key, (record, path))
            if earlier != record:
                raise UserError(f"{path} and {source} disagree on {_name(record)}: remove the one that is out of date")
    _say_unsealed(unsealed, "evaluation files")
    return _tidy(pd.DataFrame([asdict(record) for record, _ in seen.values()], columns=list(COLUMNS)), COLUMNS, KEY)


def write_records(frame: pd.DataFrame, path: Path) -> None:
    """Write ``records.csv``: sorted rows, shortest decimals that read back to the same float, one byte sequence.

    Raises UserError when a column is missing or two rows speak of the same thing.
    """
    _write_table(frame, path, COLUMNS, KEY)


def read_records(path: Path) -> pd.DataFrame:
    """Read ``records.csv`` back with text, int64 and float64 columns. Raises UserError naming the file."""
    return _read_table(path, COLUMNS, KEY)


def collect_curves(paths: Iterable[Path], runs: Sequence[Mapping[str, Any]] = ()) -> pd.DataFrame:
    """The curves of some runs' ``metrics.csv`` (in the folders ``.../<run id>/``) as one tidy frame.

    Columns: run, data, backbone, method, augmentation, seed, epoch, metric, value. Empty cells (a term that the
    method lacks) and the column ``health`` (text; see ``run.json``) leave no row. A resumed run may have
    written an epoch twice: the later line counts. ``runs`` are the descriptions of the runs (`collect_runs`), which
    name the checksum of each file.

    Raises UserError naming file, line and column of a cell that is no number, and where a file is not the one that its
    run wrote.
    """
    rows: dict[tuple[str, int, str], tuple[object, ...]] = {}
    checksums = {str(run["run"]): run.get("metrics_sha256") for run in runs}
    for path in sorted(paths):
        identity = RunIdentity.parse("/".join(path.absolute().parent.parts[-5:]))
        expected, found = checksums.get(identity.run), hashlib.sha256(_read(path)).hexdigest()
        if expected is not None and found != expected:
            raise UserError(
                f"{path}: was changed or damaged: its SHA-256 is {found[:12]}, run.json says {str(expected)[:12]}; "
                "restore the file, or train the run again"
            )
        axes = (identity.run, identity.data, identity.backbone, identity.method, identity.augmentation, identity.seed)
        for epoch, metric, value in _metrics(path):
            rows[identity.run, epoch, metric] = (*axes, epoch, metric, value)
    return _tidy(pd.DataFrame(list(rows.values()), columns=list(CURVE_COLUMNS)), CURVE_COLUMNS, CURVE_KEY)


def write_curves(frame: pd.DataFrame, path: Path) -> None:
    """Write ``curves.csv`` as `write_records` writes ``records.csv``."""
    _write_table(frame, path, CURVE_COLUMNS, CURVE_KEY)


def read_curves(path: Path) -> pd.DataFrame:
    """Read ``curves.csv`` back with text, int64 and float64 columns. Raises UserError naming the file."""
    return _read_table(path, CURVE_COLUMNS, CURVE_KEY)


def collect_runs(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """The contents of some ``run.json``, sorted by run id.

    Raises UserError naming the file that is damaged (see ``check_run``), describes another run than the one whose
    folder it is in, or repeats the run of another file.
    """
    runs: dict[str, tuple[dict[str, Any], Path]] = {}
    for path in sorted(paths):
        run = read_run(path)
        place = "/".join(path.absolute().parent.parts[-5:])
        if RunIdentity.is_run(place) and place != run["run"]:
            raise UserError(f"{path}: describes the run {run['run']} in the folder of {place}; train the run again")
        if run["run"] in runs:
            raise UserError(f"{path} and {runs[run['run']][1]} both describe the run {run['run']}")
        runs[run["run"]] = (run, path)
    _say_unsealed([path for run, path in runs.values() if not is_sealed(run)], "run.json")
    return [runs[name][0] for name in sorted(runs)]


def write_runs(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Write ``runs.json``, a list with one entry a run."""
    write_json(path, list(runs))


def _read(path: Path) -> bytes:
    with foreign(path, "cannot be read"):
        require_regular(path)
        return path.read_bytes()


def _say_unsealed(paths: Sequence[Path], what: str) -> None:
    if paths:
        print(
            f"WARNING: {len(paths)} {what} of an older version carry no checksum of their content (the first is "
            f"{paths[0]}): damage to them would go unnoticed",
            file=sys.stderr,
        )


_SHARED = {"run": "run", "commit": "git_commit", "recipe_digest": "recipe_digest", "data_checksum": "data_checksum"}
"""Columns of a record, and the keys of run.json that they repeat."""


def _compare_with_run(path: Path, evaluation: Evaluation, described: Mapping[str, Mapping[str, Any]]) -> None:
    """The run that an evaluation holds a copy of, against its own records and the run's description."""
    run = evaluation.provenance.get("run")
    if not isinstance(run, dict):
        return
    for record in evaluation.records:
        for column, key in _SHARED.items():
            if key in run and getattr(record, column) != run[key]:
                raise UserError(
                    f"{path}: {column} of a record is {getattr(record, column)}, {key} of the run is {run[key]}; "
                    "evaluate again"
                )
    current = described.get(str(run.get("run")))
    if current is not None and current != run:
        key = first_difference(run, current)
        raise UserError(
            f"{path}: was measured on another run: its {key} is {value_at(run, key)}, run.json of {run['run']} says "
            f"{value_at(current, key)}; evaluate again"
        )


def _name(record: Record) -> str:
    return (
        f"{record.run}, {record.protocol}, part {record.part}, perturbation {record.perturbation}, "
        f"{record.metric} ({record.selection})"
    )


def _metrics(path: Path) -> Iterable[tuple[int, str, float]]:
    """(epoch, metric, value) of every filled cell of a ``metrics.csv``."""
    with foreign(path, "is no metrics.csv"):
        yield from _cells(path)


def _cells(path: Path) -> Iterable[tuple[int, str, float]]:
    lines = csv.reader(_read(path).decode("utf-8", errors="replace").splitlines())
    header = next(lines, [])
    if "epoch" not in header:
        raise UserError(f"{path} is no metrics.csv: its first line must name the columns, 'epoch' among them")
    for cells in lines:
        if len(cells) != len(header):
            raise UserError(f"{path}, line {lines.line_num}: {len(cells)} cells, but {len(header)} columns")
        row = dict(zip(header, cells, strict=True))
        if not row["epoch"].isdecimal() or len(row["epoch"]) > 18:
            raise UserError(f"{path}, line {lines.line_num}: epoch is {row['epoch']!r}, which is no whole number")
        epoch = int(row["epoch"])
        for metric, cell in row.items():
            if cell and metric != "epoch" and metric not in _TEXT_METRICS:
                yield epoch, metric, _number(path, lines.line_num, metric, cell)


def _number(path: Path, line: int, column: str, cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise UserError(f"{path}, line {line}: {column} is {cell!r}, which is no number") from None


def _tidy(frame: pd.DataFrame, columns: Sequence[str], key: Sequence[str]) -> pd.DataFrame:
    """The named columns with their types, sorted by key."""
    types = {name: _NUMBERS.get(name, "str") for name in columns}
    return frame[list(columns)].astype(types).sort_values(list(key), kind="stable", ignore_index=True)


def _write_table(frame: pd.DataFrame, path: Path, columns: Sequence[str], key: Sequence[str]) -> None:
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise UserError(f"{path} cannot be written: the table lacks the column {missing[0]!r}")
    table = _tidy(frame, columns, key)
    repeated = table[table.duplicated(list(key))]
    if len(repeated):
        what = ", ".join(str(repeated.iloc[0][name]) for name in key)
        raise UserError(f"{path} cannot be written: two rows speak of {what}")
    write_text(path, table.to_csv(index=False, lineterminator="\n", na_rep="nan"))


def _read_table(path: Path, columns: Sequence[str], key: Sequence[str]) -> pd.DataFrame:
    try:
        # Text columns hold words such as "none" and "nan" that pandas would otherwise turn into missing values.
        # Numbers are converted from their text afterwards: not every version's parser reads a decimal to the last bit.
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if list(table.columns) != list(columns):
            raise UserError(f"{path}: the columns must be {','.join(columns)}")
        return _tidy(table, columns, key)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from None
