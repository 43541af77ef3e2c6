"""Check whether the versions of Python, packages and source code suit the project."""

from __future__ import annotations

import importlib.metadata
import platform
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import clever
from clever.doctor.finding import Finding

DISTRIBUTION = "clever-ssl"
SNAKEMAKE = Version("9.27")
"""The oldest version that the Snakefile accepts (its ``min_version``)."""

_NAMED_AT_MOST = 5


def checkout() -> Path | None:
    """The folder of the checkout that the package runs from; None if it was installed as a wheel."""
    root = Path(clever.__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() else None


def check_python(root: Path | None) -> Finding:
    """Compare Python with ``requires-python``."""
    wanted, _ = _ranges(root)
    if wanted is None:
        return _unknown_ranges("Python")
    version = platform.python_version()
    if wanted.contains(version, prereleases=True):
        return Finding("Python", "ok", f"{version} (the project needs {wanted})")
    return Finding("Python", "FAIL", f"{version}, but the project needs {wanted}; use another Python")


def check_packages(root: Path | None) -> Iterator[Finding]:
    """Compare installed packages with the project's version ranges, and with the checkout's lock if there is one."""
    _, needed = _ranges(root)
    if needed is None:
        yield _unknown_ranges("packages")
    else:
        wrong = [line for line in map(_unfit, needed) if line is not None]
        if wrong:
            yield Finding("packages", "FAIL", f"{_listed(wrong)}; install requirements.lock or `pip install .` again")
        else:
            yield Finding("packages", "ok", f"all {len(needed)} required packages have a suitable version")
    lock = None if root is None else root / "requirements.lock"
    if lock is not None and lock.is_file():
        yield _compare_with_lock(lock)


def check_torch_pair() -> Finding:
    """Check that torchvision's operators were built for this torch, by calling one."""
    versions = f"torch {_version('torch')} and torchvision {_version('torchvision')}"
    try:
        import torch
        from torchvision.ops import nms

        kept = nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
        if kept.tolist() != [0]:
            raise RuntimeError(f"nms returned {kept.tolist()} instead of [0]")
    except Exception as error:  # a wrong build may raise OSError, ImportError, RuntimeError or AttributeError
        reason = " ".join(str(error).split())[:150]
        return Finding(
            "torch", "FAIL", f"{versions} do not work together ({reason}); install a matching pair from one index"
        )
    return Finding("torch", "ok", f"{versions} work together; built for {torch.version.cuda or 'the CPU'}")


def check_snakemake() -> Finding:
    """Check whether the workflow can run here."""
    found = _version("snakemake")
    if found is None:
        return Finding(
            "Snakemake", "warning", "not installed: jobs run only by hand; for studies, pip install '.[workflow]'"
        )
    if Version(found) < SNAKEMAKE:
        return Finding("Snakemake", "FAIL", f"{found}, but the Snakefile needs {SNAKEMAKE} or newer; upgrade it")
    return Finding("Snakemake", "ok", found)


def check_source() -> Finding:
    """Check the commit that will be written into records."""
    from clever.provenance import source_commit  # imports torch

    commit, dirty = source_commit()
    if dirty is None:
        return Finding("source", "warning", "not a git checkout: records will have an unknown commit")
    if dirty:
        return Finding(
            "source",
            "warning",
            f"commit {commit[:12]} with uncommitted changes: records will say so; commit them first",
        )
    return Finding("source", "ok", f"commit {commit[:12]}, nothing uncommitted")


def _ranges(root: Path | None) -> tuple[SpecifierSet | None, list[Requirement] | None]:
    """Version ranges of Python and packages, from the checkout or else from the installed package."""
    if root is not None:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return SpecifierSet(project["requires-python"]), [Requirement(line) for line in project["dependencies"]]
    try:
        metadata = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None, None
    needed = map(Requirement, importlib.metadata.requires(DISTRIBUTION) or [])
    python = SpecifierSet(metadata["Requires-Python"] or "")
    return python, [r for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]


def _unknown_ranges(subject: str) -> Finding:
    return Finding(
        subject, "warning", f"{DISTRIBUTION} is not installed, so its requirements are unknown; pip install it"
    )


def _unfit(requirement: Requirement) -> str | None:
    found = _version(requirement.name)
    if found is None:
        return f"{requirement.name} is missing (the project needs {requirement.specifier})"
    if not requirement.specifier.contains(found, prereleases=True):
        return f"{requirement.name} is {found} (the project needs {requirement.specifier})"
    return None


def _compare_with_lock(lock: Path) -> Finding:
    lines = lock.read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    pins = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    installed = [pin for pin in pins if _version(pin.name) is not None]
    other = [f"{p.name} is {_version(p.name)} ({p.specifier})" for p in installed if _unfit(p) is not None]
    absent = f", {len(pins) - len(installed)} not installed" if len(installed) < len(pins) else ""
    if other:
        return Finding(
            "lock",
            "warning",
            f"{_listed(other)}{absent}; numbers may differ in their last digits from those measured with the lock",
        )
    return Finding("lock", "ok", f"{len(installed)} packages have the versions of {lock.name}{absent}")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _listed(lines: list[str]) -> str:
    more = f" and {len(lines) - _NAMED_AT_MOST} more" if len(lines) > _NAMED_AT_MOST else ""
    return ", ".join(lines[:_NAMED_AT_MOST]) + more
