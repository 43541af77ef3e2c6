"""The files that a result comes from."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from clever.baselines import BASELINES
from clever.equivariance import EQUIVARIANCES
from clever.provenance import source_commit, source_files

PACKAGES = ("clever.baselines", "clever.equivariance")


def _names(*kinds: type) -> set[str]:
    return {"/".join(file.parts[-2:]) for file in source_files(*kinds, packages=PACKAGES)}


def test_a_class_stands_on_its_file_what_it_inherits_and_the_functions_it_calls() -> None:
    clever, dino = EQUIVARIANCES["clever"][0], BASELINES["dino"][0]
    assert {"equivariance/clever.py", "equivariance/ddcl.py", "equivariance/equivariance.py"} <= _names(clever)
    assert {"baselines/dino.py", "baselines/distillation.py", "baselines/baseline.py"} <= _names(dino)


def test_other_methods_and_registries_are_not_among_them() -> None:
    found = _names(EQUIVARIANCES["none"][0], BASELINES["dino"][0])
    others = {f"baselines/{name}.py" for name in BASELINES if name != "dino"}
    assert not found & (others | {"equivariance/clever.py", "equivariance/ddcl.py"})
    assert not [name for name in found if name.endswith("__init__.py")]


def test_packages_that_were_not_asked_for_are_left_out() -> None:
    assert not source_files(BASELINES["dino"][0], packages=("clever.data",))


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
def test_a_copied_checkout_is_told_its_commit(
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


def test_a_checkout_knows_its_commit_better_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
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
