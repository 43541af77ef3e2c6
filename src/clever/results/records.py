"""Records: every measured number with its full provenance, and the tidy table made of them.

Each evaluation writes one JSON file (``evaluations/<run id>/<protocol>.json``). The files of a study are collected into
``records.csv``. The same inputs give the same bytes, regardless of the order in which they are listed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NotRequired, TypedDict, Unpack

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from clever.errors import UserError
from clever.files import write_json
from clever.parsing import decode_json
from clever.results.differing import first_difference, value_at
from clever.results.run_description import warn_of_unsealed
from clever.results.run_id import RunId
from clever.results.tables import read_bytes, read_table, require_names, require_unique, tidy, to_numbers, write_table
from clever.sealed import check_seal, sealed

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 2
"""Format of evaluation files. Format 1 has no checksum of the content and is still read."""


class Measured(TypedDict):
    """The fields of a :class:`Record` that a protocol provides; the others describe the run."""

    protocol: str
    part: str
    perturbation: str
    metric: str
    value: float
    n: int
    selection: NotRequired[Literal["last", "best"]]
    """last if left out."""
    epoch: NotRequired[int]
    """0 if left out."""


@dataclass(frozen=True)
class RunIdentity(RunId):
    """The run that a record belongs to: its id, commit, recipe and data."""

    commit: str = ""
    recipe_digest: str = ""
    data_checksum: str = ""

    def record(self, **measured: Unpack[Measured]) -> Record:
        """Make a record of this run."""
        return Record(
            run=self.run,
            data=self.data,
            backbone=self.backbone,
            method=self.method,
            augmentation=self.augmentation,
            seed=self.seed,
            protocol=measured["protocol"],
            part=measured["part"],
            perturbation=measured["perturbation"],
            metric=measured["metric"],
            value=measured["value"],
            n=measured["n"],
            selection=measured.get("selection", "last"),
            epoch=measured.get("epoch", 0),
            commit=self.commit,
            recipe_digest=self.recipe_digest,
            data_checksum=self.data_checksum,
        )


@dataclass(frozen=True)
class Record:
    """One measured number. The fields, in this order, are the columns of ``records.csv``.

    ``value`` is in the metric's unit over ``n`` test images, views or pairs: percent, 0 to 100, for ``top1``, ``top5``,
    ``balanced_accuracy_*`` and everything in ``docs/protocols.md`` unless another unit is stated there (``penalty``,
    ``equivariance``, ``quality``); a fraction, at most 1, for ``r2_*``, ``mrr``, ``hit_at_*`` and ``pre_*``; the square
    of a target's unit for ``mse_*``. ``data`` is the data set that the run was trained on. ``data_checksum`` is the
    checksum of the store that the number was measured on. For ``transfer`` this is not the run's store; its
    ``protocol`` names the data set (:func:`evaluation_data`). ``selection`` is ``last`` for the final classifier.
    ``best`` is the highest value over the epochs, measured on the test images themselves, which is what the authors
    print (eval_linear.py:326,347). ``epoch`` is the number of epochs for which the classifier was trained; 0 if nothing
    is trained.
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
SELECTIONS = ("last", "best")
KEY = ("data", "backbone", "method", "augmentation", "seed", "protocol", "part", "perturbation", "metric", "selection")
@dataclass(frozen=True)
class Evaluation:
    """The content of one evaluation file. ``provenance`` may hold any keys: versions, hardware, options, wall time.

    ``content_sha256`` is the checksum of the rest of the file (``clever.sealed``); None in format 1.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    format: int
    provenance: dict[str, Any]
    records: list[Record]
    content_sha256: str | None = None


_EVALUATION = TypeAdapter(Evaluation)


def evaluation_data(protocol: str) -> str | None:
    """The data set that a record of ``transfer_<mode>+<data>`` was measured on; None for other protocols.

    Every other record was measured on the data set of its run, or on one that its protocol reads itself.
    """
    kind, _, rest = protocol.partition("+")
    return rest.partition("+")[0] or None if kind.startswith("transfer_") else None


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
    """Read one evaluation file and, unless ``verify`` is False, verify its checksum.

    Raises UserError naming the file when it is missing, damaged, changed or in an unknown format.
    """
    content = read_bytes(path)
    try:
        evaluation = _EVALUATION.validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise UserError(f"{path} is not an evaluation file: {where + ': ' if where else ''}{first['msg']}") from None
    if evaluation.format not in (1, FORMAT):
        raise UserError(f"{path} has format {evaluation.format}, but this version reads 1 and {FORMAT}: evaluate again")
    if verify and evaluation.format == FORMAT:
        check_seal(decode_json(content, path), path, "restore the file, or evaluate again")
    return evaluation


def collect(paths: Iterable[Path], runs: Sequence[Mapping[str, Any]] = ()) -> pd.DataFrame:
    """Collect the records of some evaluation files, sorted, one row per record, with the columns of `Record`.

    A record that is identical in two files counts once. ``runs`` are the descriptions of the runs (``collect_runs``);
    each file's copy of its run's description is compared with them.

    Raises UserError if two records with the same key differ (the message names both files), or if an evaluation was
    made on a run other than the one described (the message names the key and both values).
    """
    import pandas as pd  # every job imports this module, and only tables need it

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
                raise UserError(f"{path} and {source} disagree on {_name(record)}: remove the outdated one")
    warn_of_unsealed(unsealed, "evaluation files")
    return tidy(pd.DataFrame([asdict(record) for record, _ in seen.values()], columns=list(COLUMNS)), COLUMNS, KEY)


def write_records(frame: pd.DataFrame, path: Path) -> None:
    """Write ``records.csv``: sorted rows, the shortest decimals that read back to the same float, identical bytes.

    Raises UserError when a column is missing or two rows have the same key.
    """
    write_table(frame, path, COLUMNS, KEY)


def read_records(path: Path, *, verify: bool = True) -> pd.DataFrame:
    """Read ``records.csv`` back in the columns of `Record`, in the file's order; ``verify`` as in `read_table`.

    ``value`` is float64, ``seed``, ``n`` and ``epoch`` are int64, the rest is text. Raises ``UserError`` for a missing,
    empty or malformed file and for a number that is recorded twice.
    """
    table = read_table(path, COLUMNS, verify=verify)
    require_names(table, path)
    table["value"] = to_numbers(table, "value", path, whole=False)
    for column in ("seed", "n", "epoch"):
        table[column] = to_numbers(table, column, path, whole=True)
    unknown = ~table["selection"].isin(SELECTIONS)
    if bool(unknown.any()):
        row = int(np.flatnonzero(unknown)[0])
        raise UserError(f"{path}: line {row + 2}: selection is '{table['selection'].iloc[row]}', not last or best")
    require_unique(table, KEY, path, ("run", "protocol", "part", "perturbation", "metric", "selection"))
    return table


_SHARED = {"run": "run", "commit": "git_commit", "recipe_digest": "recipe_digest", "data_checksum": "data_checksum"}
"""Columns of a record, and the keys of ``run.json`` with the same content."""


def _compare_with_run(path: Path, evaluation: Evaluation, described: Mapping[str, Mapping[str, Any]]) -> None:
    """Compare an evaluation's copy of its run with its records and with the run's description."""
    run = evaluation.provenance.get("run")
    if not isinstance(run, dict):
        return
    # transfer measures on a data set other than the run's.
    evaluated = evaluation.provenance.get("evaluated")
    expected = run | {"data_checksum": evaluated["checksum"]} if isinstance(evaluated, dict) else run
    for record in evaluation.records:
        for column, key in _SHARED.items():
            if key in expected and getattr(record, column) != expected[key]:
                whose = "the run" if expected[key] == run.get(key) else f"the data set {evaluation_data(record.protocol)}"
                raise UserError(
                    f"{path}: {column} of a record is {getattr(record, column)}, but {key} of {whose} is "
                    f"{expected[key]}; evaluate again"
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
