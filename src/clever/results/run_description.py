"""run.json, read and checked: whole, and in agreement with the recipe that it holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clever.errors import UserError
from clever.parsing import read_json_object, require_kinds
from clever.sealed import check_seal

SEALED_FORMAT = 2
"""The first format of run.json with a checksum of its own content; older ones are read without it."""

_REMEDY = "restore the file, or train the run again"
_KINDS: dict[str, type | tuple[type, ...]] = {
    "run": str,
    "recipe": dict,
    "recipe_digest": str,
    "data_checksum": str,
    "git_commit": (str, type(None)),
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


def read_run(path: Path) -> dict[str, Any]:
    """The description of a finished run.

    Raises:
        UserError: as :func:`check_run`; or the file is missing or no JSON object.
    """
    run = read_json_object(path, absent="the run has not finished", advice=_REMEDY)
    check_run(run, path)
    return run


def check_run(run: dict[str, Any], path: Path) -> None:
    """Compare a description with its checksum, and its run id, recipe digest and ``ir_dim`` with its recipe.

    Args:
        run: what ``run.json`` holds.
        path: the file, for messages.

    Raises:
        UserError: a key is missing or of another type, or two statements disagree; the message has both.
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
            raise UserError(f"{path}: has format {run.get('format')}, this version reads 1 and {SEALED_FORMAT}")
        check_seal(run, path, _REMEDY)


def is_sealed(run: Mapping[str, Any]) -> bool:
    """Whether a description carries a checksum of its content; one that an older version wrote does not."""
    return run.get("format") != 1


def _ir_dim(recipe: Mapping[str, Any], feature_dim: int) -> int | None:
    method = recipe.get("method")
    equivariance = method.get("equivariance") if isinstance(method, dict) else None
    ratio = equivariance.get("separation_ratio") if isinstance(equivariance, dict) else None
    # As Split does it. Only methods that split the representation have such a ratio.
    return int(feature_dim * ratio) if isinstance(ratio, float | int) else None


def _compare(path: Path, key: str, found: object, expected: object) -> None:
    if found != expected:
        raise UserError(f"{path}: {key} is {found}, but its recipe gives {expected}; {_REMEDY}")
