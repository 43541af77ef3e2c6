"""The description of a run, ``run.json``, and the list of them, ``runs.json``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from clever.errors import UserError
from clever.files import write_json
from clever.parsing import decode_json, foreign, read_json_object, read_text, require_kinds

RUN_FORMAT = 1
HEALTHY = "ok"
"""The health of a run that has not collapsed."""


class TrainingSummary(TypedDict, total=False):
    """What training adds to the description of a run. Files of earlier versions lack some of the keys."""

    ir_dim: int | None
    """Width of the invariant representation; None where the representation is not split."""
    epochs: int
    iterations: int
    wall_seconds: float
    """Of training, over all of its starts."""
    images_per_second: float | None
    peak_memory_bytes: int | None
    """Of the device where that is a GPU, else of the process."""
    health: str
    """``HEALTHY``, or in which way the run has collapsed."""
    backbone_sha256: str
    predictor_sha256: str | None
    """None where the run has no predictor."""
    trained_by: list[Mapping[str, Any]]
    """The code that trained the run, one entry for each change; see ``pretraining.code_history``."""


class RunDescription(TrainingSummary):
    """What a finished run says of itself. Files of earlier versions lack some of the keys that are not required."""

    format: NotRequired[int]
    run: str
    """The run's id."""
    recipe: dict[str, Any]
    """The run's recipe, as plain JSON."""
    recipe_digest: str
    data_checksum: str
    """Of the prepared store that it was trained on."""
    git_commit: str
    git_dirty: NotRequired[bool | None]
    versions: NotRequired[dict[str, str]]
    """Python and packages, by name."""
    hardware: NotRequired[dict[str, str | int]]
    feature_dim: NotRequired[int]


_KINDS: dict[str, type | tuple[type, ...]] = {
    "run": str,
    "recipe": dict,
    "recipe_digest": str,
    "data_checksum": str,
    "git_commit": str,
}
_RECIPE_KINDS: dict[str, type | tuple[type, ...]] = {
    "data": str,
    "backbone_name": str,
    "backbone": dict,
    "method_name": str,
    "augmentation_name": str,
    "seed": int,
}


def require_run(content: object, where: str) -> RunDescription:
    """``content``, which must describe a run. Raises UserError naming ``where`` and the key that is wrong."""
    for key, kind in _KINDS.items():
        if not isinstance(content, dict) or not isinstance(content.get(key), kind):
            raise UserError(f"{where}: does not describe a run, the key {key} is missing or of another type")
    return content  # type: ignore[return-value]


def read_run(path: Path) -> RunDescription:
    """Read a ``run.json``.

    Raises:
        UserError: the file is missing or damaged, or a key that identifies the run is missing or of another type.
    """
    again = "train the run again"
    run = read_json_object(path, absent="the run has not finished", advice=again)
    require_kinds(run, {**_KINDS, "ir_dim": (int, type(None))}, path, again)
    require_kinds(run["recipe"], _RECIPE_KINDS, path, again)
    return require_run(run, str(path))


def write_run(path: Path, run: RunDescription) -> None:
    """Write a ``run.json``; raises as `clever.files.write_json`."""
    write_json(path, run)


def collect_runs(paths: Iterable[Path]) -> list[RunDescription]:
    """The contents of some ``run.json``, sorted by run id.

    Raises UserError naming the file that is damaged, or repeats the run of another file.
    """
    runs: dict[str, tuple[RunDescription, Path]] = {}
    for path in sorted(paths):
        run = read_run(path)
        if run["run"] in runs:
            raise UserError(f"{path} and {runs[run['run']][1]} both describe the run {run['run']}")
        runs[run["run"]] = (run, path)
    return [runs[name][0] for name in sorted(runs)]


def write_runs(runs: Sequence[RunDescription], path: Path) -> None:
    """Write ``runs.json``, a list with one entry a run."""
    write_json(path, list(runs))


def read_runs(path: Path) -> list[RunDescription]:
    """Read ``runs.json``, sorted by run id. Raises UserError where the file is no list of run descriptions."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with foreign(path, "cannot be read"):
        text = read_text(path)
    runs = decode_json(text, path, "not readable JSON")
    if not isinstance(runs, list):
        raise UserError(f"{path}: must be a list of run descriptions")
    return sorted((require_run(run, f"{path}: entry {place}") for place, run in enumerate(runs)), key=lambda r: r["run"])


def unhealthy_runs(runs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Run id to reason, for every run whose health is not ``ok``; a run that says nothing counts as unhealthy."""
    return {str(run["run"]): str(run.get("health") or "not recorded") for run in runs if run.get("health") != HEALTHY}
