"""The commit that a result comes from."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from clever.provenance import source_commit


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, ("unknown", None)),
        ({"CLEVER_COMMIT": "abc", "CLEVER_DIRTY": "0"}, ("abc", False)),
        ({"CLEVER_COMMIT": "abc", "CLEVER_DIRTY": "1"}, ("abc", True)),
        ({"CLEVER_COMMIT": "abc"}, ("abc", None)),
        ({"CLEVER_DIRTY": "0"}, ("unknown", None)),
    ],
)
def test_a_copied_checkout_gets_its_commit_from_the_environment(
    environment: dict[str, str], found: tuple[str, bool | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_repository(*_: object, **__: object) -> Any:
        raise subprocess.CalledProcessError(128, "git")

    monkeypatch.setattr(subprocess, "run", no_repository)
    for name in ("CLEVER_COMMIT", "CLEVER_DIRTY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    source_commit.cache_clear()
    try:
        assert source_commit() == found
    finally:
        source_commit.cache_clear()


def test_a_checkout_s_commit_takes_precedence_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEVER_COMMIT", "abc")
    source_commit.cache_clear()
    try:
        commit, _ = source_commit()
    finally:
        source_commit.cache_clear()
    git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if git.returncode:
        pytest.skip("this copy is no git checkout")
    assert commit == git.stdout.strip()
