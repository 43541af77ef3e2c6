"""The provenance of a number: commit, package versions, hardware."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import torch

PACKAGES = ("clever-ssl", "torch", "torchvision", "timm", "numpy", "scikit-learn")


@functools.cache
def source_commit() -> tuple[str, bool | None]:
    """The git commit of the installed source and whether it had uncommitted changes.

    If the package does not run from a git checkout, these are the values of the environment variables CLEVER_COMMIT and
    CLEVER_DIRTY (0 or 1), which describe the checkout that it was copied from, or else ("unknown", None).
    """
    folder = Path(__file__).resolve().parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit, bool(_git(folder, "status", "--porcelain", "--untracked-files=no", "--", str(folder)))
    except (OSError, subprocess.CalledProcessError):
        copied = os.environ.get("CLEVER_COMMIT")
        dirty = {"0": False, "1": True}.get(os.environ.get("CLEVER_DIRTY", ""))
        return (copied, dirty) if copied else ("unknown", None)


def package_versions() -> dict[str, str]:
    """The versions of Python and of each package that a number may depend on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            # torch's own string includes the build (2.14.1+cu130), which the package's metadata may omit.
            versions[name] = torch.__version__ if name == "torch" else importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def hardware(device: torch.device) -> dict[str, str | int]:
    """The processor, the cores that this process may use, torch's threads and, if a GPU is used, the GPU."""
    described: dict[str, str | int] = {
        "device": device.type,
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
    }
    if device.type == "cuda":
        described["gpu"] = torch.cuda.get_device_name(device)
    return described


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()
