"""Checks of run.json against its recipe and its checksum."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clever.errors import UserError
from clever.results.run_description import check_run, read_run
from clever.sealed import sealed

from .test_records import described

RUN = "digits/tiny/dino+clever/caug/seed0"
OTHER = RUN.replace("seed0", "seed7")


def changed(**changes: Any) -> dict[str, Any]:
    """Edit the file without updating its checksum."""
    return {**described(RUN), **changes}


def test_a_consistent_description_is_read(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(described(RUN), indent=2))
    assert read_run(tmp_path / "run.json") == described(RUN)


@pytest.mark.parametrize("resealed", [False, True])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ir_dim": 100}, "ir_dim is 100, but its recipe gives 204"),
        ({"ir_dim": None}, "ir_dim is None, but its recipe gives 204"),
        ({"run": OTHER}, "run is .*seed7, but its recipe gives .*seed0"),
        (
            {"recipe": described(RUN.replace("seed0", "seed7"))["recipe"]},
            "run is .*seed0, but its recipe gives .*seed7",
        ),
        ({"recipe_digest": "0" * 16}, "recipe_digest is 0000000000000000, but its recipe gives [0-9a-f]{16}"),
        ({"feature_dim": 128}, "ir_dim is 204, but its recipe gives 102"),
        ({"format": 3}, "has format 3, but this version reads 1 and 2"),
        ({"backbone_sha256": None}, "the key backbone_sha256 holds a NoneType"),
    ],
)
def test_both_contradictory_statements_are_named(changes: dict[str, Any], words: str, resealed: bool) -> None:
    run = changed(**changes)
    with pytest.raises(UserError, match=rf"^a/run\.json: .*{words}"):
        check_run(sealed(run) if resealed else run, Path("a/run.json"))


@pytest.mark.parametrize("changes", [{"health": "collapsed"}, {"git_commit": "abc124"}, {"backbone_sha256": "1" * 64}])
def test_other_changes_are_found_by_the_checksum(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"run\.json: was changed or damaged: the SHA-256 of its content is"):
        check_run(changed(**changes), Path("run.json"))
