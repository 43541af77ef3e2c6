"""The Containerfile, checked as text, because the tests cannot build images."""

from __future__ import annotations

import re
import shlex

import yaml

from .conftest import PARTS, ROOT


def instructions() -> list[list[str]]:
    lines = (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines()
    return [shlex.split(line) for line in lines if line and not line.startswith("#")]


def arguments(name: str) -> list[list[str]]:
    return [words[1:] for words in instructions() if words[0] == name]


def test_the_base_is_a_fixed_version_of_conda_s_python() -> None:
    ((stated,),) = arguments("ARG")
    assert arguments("FROM") == [["${BASE}"]]
    base = stated.removeprefix("BASE=")
    version = re.fullmatch(r"docker\.io/library/python:(\d+\.\d+)\.\d+-slim-[a-z]+", base)
    assert version, f"{base} is not one version"
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert f"python={version[1]}" in environment["dependencies"]


def test_versions_come_only_from_the_lock() -> None:
    installs = [words for words in arguments("RUN") if "install" in words]
    assert [words[-2:] for words in installs] == [["--requirement", "requirements.hashes"], ["--editable", "."]]
    assert "--require-hashes" in installs[0]
    # The package adds no dependency that is not in the lock.
    assert {"--no-deps", "--no-build-isolation"} <= set(installs[1])


def test_it_names_no_index_and_contains_no_secret() -> None:
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    assert not re.search(r"https?:|index-url|--find-links|==", text)
    assert {words[0] for words in instructions()} <= {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "CMD"}


def test_it_contains_the_workflow_s_files_and_nothing_unversioned() -> None:
    copied = {source.removeprefix("./") for words in arguments("COPY") for source in words[:-1]}
    # The workflow's tests run in a folder with exactly these parts.
    assert copied == {*PARTS, "requirements.lock", "requirements.hashes", "pyproject.toml", "README.md", "LICENSE"}
    assert all((ROOT / name).exists() for name in copied)
    # The files that pip reads when it installs the package.
    assert copied >= {"pyproject.toml", "src"}
