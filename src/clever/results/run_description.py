"""The description of a run, ``run.json``: written, read back, and checked against its checksum and recipe."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from clever.errors import UserError
from clever.files import write_json
from clever.parsing import decode_json, foreign, read_json_object, read_text, require_kinds
from clever.results.run_id import RunId
from clever.results.sums import check_sums
from clever.sealed import check_seal, sealed

SEALED_FORMAT = 2
"""The first format of run.json with a checksum of its content; older formats are read without one."""

HEALTHY = "ok"
"""The health of a run that has not collapsed."""


class TrainingSummary(TypedDict, total=False):
    """What training adds to the description of a run. Files of earlier versions lack some of the keys."""

    ir_dim: int | None
    """Width of the invariant representation; None if the representation is not split."""
    epochs: int
    iterations: int
    wall_seconds: float
    """Training time, summed over all starts."""
    images_per_second: float | None
    peak_memory_bytes: int | None
    """Peak memory of the GPU, or of the process on a CPU."""
    health: str
    """``HEALTHY``, or the way in which the run has collapsed."""
    backbone_sha256: str
    metrics_sha256: str
    predictor_sha256: str | None
    """SHA-256 of ``predictor.safetensors``; None if the run has no predictor."""
    initial_weights: Mapping[str, Any]
    """What was loaded into the backbone before training (``clever.backbones.initial_weights``); present only if the
    recipe names initial weights."""
    stage: Mapping[str, Any]
    """The earlier runs of a chain and the number of images of each pseudo-label; present only for the later runs of a
    chain (see ``pretraining.stages``)."""
    trained_by: list[Mapping[str, Any]]
    """The code that trained the run, one entry per change; see ``pretraining.code_history``."""


class RunDescription(TrainingSummary):
    """The description of a finished run. Files of earlier versions lack some of the keys that are not required.

    The file also carries ``content_sha256`` (see ``clever.sealed``), except in format 1.
    """

    format: NotRequired[int]
    run: str
    """The run's id."""
    recipe: dict[str, Any]
    """The run's recipe, as plain JSON."""
    recipe_digest: str
    data_checksum: str
    """Checksum of the prepared store that the run was trained on."""
    git_commit: str
    git_dirty: NotRequired[bool | None]
    versions: NotRequired[dict[str, str]]
    """Versions of Python and of the packages, by name."""
    hardware: NotRequired[dict[str, str | int]]
    feature_dim: NotRequired[int]
    images: NotRequired[dict[str, Any]]
    """The network's input: ``size``, side in pixels of the prepared images (null if they keep their sizes), and
    ``mean`` and ``std`` of the three channels, for pixels in [0, 1]."""


_REMEDY = "restore the file, or train the run again"
_KINDS: dict[str, type | tuple[type, ...]] = {
    "run": str,
    "recipe": dict,
    "recipe_digest": str,
    "data_checksum": str,
    "git_commit": str,
    "backbone_sha256": str,
    "feature_dim": int,
    "ir_dim": (int, type(None)),
}
_RECIPE_KINDS: dict[str, type | tuple[type, ...]] = {
    "data": str,
    "backbone_name": str,
    "backbone": dict,
    "method_name": str,
    "augmentation_name": str,
    "seed": int,
}


def write_run(path: Path, run: RunDescription) -> None:
    """Write a ``run.json`` with a checksum of its content; raises the errors of `clever.files.write_json`."""
    write_json(path, sealed(run))


def read_run(path: Path) -> RunDescription:
    """Read the description of a finished run.

    Raises:
        UserError: the file is missing or not a JSON object, or :func:`check_run` fails.
    """
    run = read_json_object(path, absent="the run has not finished", advice=_REMEDY)
    check_run(run, path)
    return require_run(run, str(path))


def check_run(run: dict[str, Any], path: Path) -> None:
    """Verify the checksum of a description, and compare its run id, recipe digest and ``ir_dim`` with its recipe.

    Args:
        run: the content of ``run.json``.
        path: the file, for messages.

    Raises:
        UserError: a key is missing or of the wrong type, or two values disagree; the message names both.
    """
    require_kinds(run, _KINDS, path, _REMEDY)
    require_kinds(run["recipe"], _RECIPE_KINDS, path, _REMEDY)
    recipe = run["recipe"]
    axes = [recipe[key] for key in ("data", "backbone_name", "method_name", "augmentation_name")]
    _compare(path, "run", run["run"], "/".join([*axes, f"seed{recipe['seed']}"]))
    canonical = json.dumps(recipe, sort_keys=True, separators=(",", ":")).encode()
    _compare(path, "recipe_digest", run["recipe_digest"], hashlib.sha256(canonical).hexdigest()[:16])
    _compare(path, "ir_dim", run["ir_dim"], _ir_dim(recipe, run["feature_dim"]))
    if run.get("format") != 1:
        if run.get("format") != SEALED_FORMAT:
            raise UserError(f"{path}: has format {run.get('format')}, but this version reads 1 and {SEALED_FORMAT}")
        check_seal(run, path, _REMEDY)


_IDENTIFYING = ("run", "recipe", "recipe_digest", "data_checksum", "git_commit")


def require_run(content: object, where: str) -> RunDescription:
    """Return ``content`` after checking that it names the run it describes; see :func:`check_run` for a complete check.

    Raises:
        UserError: a key is missing or of the wrong type; the message names ``where`` and the first such key.
    """
    for key in _IDENTIFYING:
        kind = dict if key == "recipe" else str
        if not isinstance(content, dict) or not isinstance(content.get(key), kind):
            raise UserError(f"{where}: is not a run description: the key {key} is missing or of another type")
    return content  # type: ignore[return-value]


def is_sealed(run: Mapping[str, Any]) -> bool:
    """Whether a description has a checksum of its content; those of older versions have none."""
    return run.get("format") != 1


def collect_runs(paths: Iterable[Path]) -> list[RunDescription]:
    """The contents of some ``run.json`` files, sorted by run id.

    Raises UserError, naming the file, if a file is damaged (see ``check_run``), is in the folder of another run, or
    describes the same run as another file.
    """
    runs: dict[str, tuple[RunDescription, Path]] = {}
    for path in sorted(paths):
        run = read_run(path)
        place = "/".join(path.absolute().parent.parts[-5:])
        if RunId.is_run(place) and place != run["run"]:
            raise UserError(f"{path}: describes {run['run']}, but is in the folder of {place}; train the run again")
        if run["run"] in runs:
            raise UserError(f"{path} and {runs[run['run']][1]} both describe the run {run['run']}")
        runs[run["run"]] = (run, path)
    warn_of_unsealed([path for run, path in runs.values() if not is_sealed(run)], "run.json")
    return [runs[name][0] for name in sorted(runs)]


def write_runs(runs: Sequence[RunDescription], path: Path) -> None:
    """Write ``runs.json``, a list with one entry per run."""
    write_json(path, list(runs))


def read_runs(path: Path) -> list[RunDescription]:
    """Read ``runs.json``, sorted by run id. Raises UserError if the file is not a list of run descriptions."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    check_sums(path)
    with foreign(path, "cannot be read"):
        text = read_text(path)
    runs = decode_json(text, path, "not readable JSON")
    if not isinstance(runs, list):
        raise UserError(f"{path}: must be a list of run descriptions")
    return sorted((require_run(run, f"{path}: entry {place}") for place, run in enumerate(runs)), key=lambda r: r["run"])


def unhealthy_runs(runs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Map the id of every run whose health is not ``ok`` to the reason; a run without a recorded health is
    unhealthy."""
    return {str(run["run"]): str(run.get("health") or "not recorded") for run in runs if run.get("health") != HEALTHY}


def warn_of_unsealed(paths: Sequence[Path], what: str) -> None:
    """Warn on standard error about ``paths``, files of the kind ``what`` that an older version wrote without
    checksums."""
    if paths:
        print(
            f"WARNING: {len(paths)} {what} of an older version have no checksum of their content (the first is "
            f"{paths[0]}): damage to them would not be noticed",
            file=sys.stderr,
        )


def _ir_dim(recipe: Mapping[str, Any], feature_dim: int) -> int | None:
    method = recipe.get("method")
    equivariance = method.get("equivariance") if isinstance(method, dict) else None
    if not isinstance(equivariance, dict) or not isinstance(ratio := equivariance.get("separation_ratio"), float | int):
        return None  # only methods that split the representation have such a ratio
    # The same arithmetic as in ``Split``.
    share = feature_dim * ratio
    return round(share) if equivariance.get("split_rounding") == "nearest" else int(share)


def _compare(path: Path, key: str, found: object, expected: object) -> None:
    if found != expected:
        raise UserError(f"{path}: {key} is {found}, but its recipe gives {expected}; {_REMEDY}")
