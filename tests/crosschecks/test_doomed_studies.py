"""Each study whose valid keys contradict each other is rejected with one line, from the file alone, before anything
runs."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from clever.cli import main
from clever.config import parse_study

TABLE = yaml.safe_load((Path(__file__).parents[2] / "faults" / "doomed_studies.yaml").read_text(encoding="utf-8"))
WRONG: list[dict[str, Any]] = TABLE["wrong"]


def written(row: dict[str, Any], path: Path) -> Path:
    """Write the study of a row to a file."""
    if "text" in row:
        old, new = row["text"]
        assert TABLE["right"].count(old) == 1
        path.write_text(TABLE["right"].replace(old, new), encoding="utf-8")
        return path
    whole: Any = copy.deepcopy(yaml.safe_load(TABLE["right"]))
    for keys, value in row["changes"]:
        inner = whole
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
    path.write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    return path


def test_the_correct_study_is_accepted_and_the_table_is_long_enough() -> None:
    assert parse_study(yaml.safe_load(TABLE["right"]), "study.yaml").study == "trial"
    assert len(WRONG) >= 40
    assert len({row["message"] for row in WRONG}) == len(WRONG)


@pytest.mark.parametrize("row", WRONG, ids=[f"{n:02d}-{row['message'].split(':')[0]}" for n, row in enumerate(WRONG)])
def test_a_contradictory_study_gives_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], row: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(row, tmp_path / "study.yaml")
    assert main(["check", str(path)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith(f"error: {path}: ")
    assert row["message"] in shown.err
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.yaml"]
