"""The list of the code that trained a run."""

from __future__ import annotations

from pathlib import Path

import pytest

import clever
from clever.pretraining import code_history
from clever.pretraining.code_history import described, extended, training_sources


def test_the_list_grows_only_when_the_code_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_history, "source_commit", lambda: ("a" * 40, False))
    monkeypatch.setattr(code_history, "training_sources", lambda: "1" * 16)
    first = extended([], 0)
    assert first == [{"git_commit": "a" * 40, "git_dirty": False, "sources": "1" * 16, "from_step": 0}]
    assert extended(first, 7) == first
    monkeypatch.setattr(code_history, "training_sources", lambda: "2" * 16)
    second = extended(first, 7)
    assert [entry["from_step"] for entry in second] == [0, 7]
    monkeypatch.setattr(code_history, "source_commit", lambda: ("b" * 40, True))
    third = extended(second, 9)
    assert described(third[-1]) == f"commit {'b' * 12} with uncommitted changes, sources {'2' * 16}"
    assert [entry["from_step"] for entry in third] == [0, 7, 9]


def test_sources_are_those_that_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Path(clever.__file__).parent
    for path in package.rglob("*.py"):
        copied = tmp_path / path.relative_to(package)
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_bytes(path.read_bytes())
    before = training_sources()
    monkeypatch.setattr(clever, "__file__", str(tmp_path / "__init__.py"))
    assert training_sources() == before  # wherever the package lies
    (tmp_path / "evaluation" / "knn.py").write_text("# edited")
    assert training_sources() == before
    (tmp_path / "baselines" / "dino.py").write_text("# edited")
    changed = training_sources()
    assert changed != before
    (tmp_path / "randomness.py").write_text("# edited")
    assert training_sources() not in (before, changed)
