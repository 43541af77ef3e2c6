"""Reading and checking a study (options, registries, facts) imports neither torch nor another slow library."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

SLOW = ("torch", "torchvision", "timm", "sklearn", "scipy", "pandas")

LIGHT = (
    "clever.augmentation",
    "clever.augmentation.options.augmentation",
    "clever.augmentation.options.pairs",
    "clever.augmentation.options.perturbations",
    "clever.augmentation.options.spirograph",
    "clever.augmentation.options.views",
    "clever.backbones",
    "clever.backbones.facts",
    "clever.backbones.options",
    "clever.data",
    "clever.data.counts",
    "clever.data.folder_files",
    "clever.data.options",
    "clever.data.padding",
    "clever.data.registry",
    "clever.spirograph",
    "clever.threediebench",
)


PACKAGES = (
    "clever",
    *(f"clever.{name}" for name in ("augmentation", "backbones", "baselines", "data", "equivariance")),
)
"""The packages that import some of their exported names on first use."""


def loaded(modules: tuple[str, ...]) -> list[str]:
    """The slow libraries that a fresh process has loaded after these imports."""
    program = f"import sys, {', '.join(modules)}; print(*(name for name in {SLOW} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_options_and_registries_load_no_slow_library() -> None:
    assert loaded(LIGHT) == []


def test_a_slow_library_would_be_detected() -> None:
    assert "torch" in loaded((*LIGHT, "clever.augmentation.views"))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_of_a_lazy_package_exists(package: str) -> None:
    module = importlib.import_module(package)
    assert all(hasattr(module, name) for name in module.__all__)
    assert not hasattr(module, "no_such_name")
