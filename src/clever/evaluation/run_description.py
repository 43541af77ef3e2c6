"""run.json, read and checked: whole, and in agreement with the recipe that it holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clever.errors import UserError
from clever.sealed import check_seal

SEALED_FORMAT = 2
"""The first format of run.json with a checksum of its own content; older ones are read without it."""

_REMEDY = "restore the file, or train the run again"
_KEYS: dict[str, type | tuple[type, ...]] = {
    "run": str,
    "recipe": dict,
    "recipe_digest": str,
    "data_checksum": str,
    "git_commit": str,
    "backbone_sha256": str,
    "feature_dim": int,
    "ir_dim": (int, type(None)),
}


def read_run(path: Path) -> dict[str, Any]:
    """The description of a finished run.

    Raises:
        UserError: as :func:`check_run`; or the file is missing or no JSON.
    """
    try:
        run = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: missing; the run has not finished") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error!r}); {_REMEDY}") from error
    check_run(run, path)
    return dict(run)


def check_run(run: Any, where: object) -> None:
    """Compare a description with its checksum, and its run id, recipe digest and ``ir_dim`` with its recipe.

    Args:
        run: what ``run.json`` holds.
        where: the file, for messages.

    Raises:
        UserError: a key is missing or of another type, or two statements disagree; the message has both.
    """
    if not isinstance(run, dict):
        raise UserError(f"{where}: damaged, it is no JSON object; {_REMEDY}")
    for key, kind in _KEYS.items():
        if key not in run or not isinstance(run[key], kind) or isinstance(run[key], bool):
            raise UserError(f"{where}: damaged, the key {key} is missing or of another type; {_REMEDY}")
    recipe = run["recipe"]
    axes = [recipe.get(key) for key in ("data", "backbone_name", "method_name", "augmentation_name")]
    _compare(where, "run", run["run"], "/".join([*map(str, axes), f"seed{recipe.get('seed')}"]))
    canonical = json.dumps(recipe, sort_keys=True, separators=(",", ":")).encode()
    _compare(where, "recipe_digest", run["recipe_digest"], hashlib.sha256(canonical).hexdigest()[:16])
    _compare(where, "ir_dim", run["ir_dim"], _ir_dim(recipe, run["feature_dim"]))
    if run.get("format") != 1:
        if run.get("format") != SEALED_FORMAT:
            raise UserError(f"{where}: has format {run.get('format')}, this version reads 1 and {SEALED_FORMAT}")
        check_seal(run, where, _REMEDY)


def is_sealed(run: Mapping[str, Any]) -> bool:
    """Whether a description carries a checksum of its content; one that an older version wrote does not."""
    return run.get("format") != 1


def _ir_dim(recipe: Mapping[str, Any], feature_dim: int) -> int | None:
    method = recipe.get("method")
    equivariance = method.get("equivariance") if isinstance(method, dict) else None
    ratio = equivariance.get("separation_ratio") if isinstance(equivariance, dict) else None
    # As Split does it. Only methods that split the representation have such a ratio.
    return int(feature_dim * ratio) if isinstance(ratio, float | int) else None


def _compare(where: object, key: str, found: object, expected: object) -> None:
    if found != expected:
        raise UserError(f"{where}: {key} is {found}, but its recipe gives {expected}; {_REMEDY}")
