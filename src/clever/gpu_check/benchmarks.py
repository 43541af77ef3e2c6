"""The scripts of ``benchmarks/``, imported from the checkout that this package runs from."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from clever.errors import UserError


def checkout() -> Path:
    """The folder that contains ``src``, ``benchmarks``, ``tests`` and ``workflow``.

    Raises:
        UserError: the package does not run from a checkout.
    """
    folder = Path(__file__).resolve().parents[3]
    if not (folder / "benchmarks" / "training_step.py").is_file():
        raise UserError(f"{folder}: not a checkout of this project; run with PYTHONPATH=<checkout>/src")
    return folder


def load_benchmark(name: str) -> Any:
    """Import one benchmark as a module."""
    folder = str(checkout() / "benchmarks")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)
