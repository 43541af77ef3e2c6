"""The wheel, built from this checkout and installed into an empty environment."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from clever import __version__

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("setuptools", minversion="77", reason="builds the wheel")


def _pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source / name)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", folder, source)
    (built,) = folder.glob("*.whl")
    return built


def test_its_metadata_is_complete(wheel: Path) -> None:
    assert wheel.name == f"clever_ssl-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        (path,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(path))
        assert path.replace("METADATA", "licenses/LICENSE") in archive.namelist()
    assert (metadata["Name"], metadata["Version"]) == ("clever-ssl", __version__)
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Summary"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert {"evaluation", "paper", "workflow"} <= set(metadata.get_all("Provides-Extra", []))


def test_it_contains_every_file_of_the_package(wheel: Path) -> None:
    """Otherwise, a new folder without ``__init__.py`` or a new data file could be missing."""
    source = ROOT / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in (source / "clever").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == wanted


def test_its_command_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """Dependencies come from the tests' environment, and the package comes only from the wheel."""
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False, symlinks=True)
    _pip("--python", bare / "bin" / "python", "install", "--no-deps", "--no-index", "--no-compile", "--quiet", wheel)
    # The .pth files of a folder on PYTHONPATH are not read, so an editable installation there is not found.
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": sysconfig.get_path("purelib")}

    def run(*command: str) -> str:
        done = subprocess.run(
            [str(bare / "bin" / command[0]), *command[1:]],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    place = run("python", "-c", "import clever; print(clever.__file__)")
    assert Path(place.strip()).is_relative_to(bare)
    assert "pretrain" in run("clever", "--help")
    # From catalogue.json, a data file.
    assert "simclr" in run("clever", "methods")
