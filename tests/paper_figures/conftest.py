"""Lets the tests import the scripts by their bare names, as the scripts import each other."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "paper_figures"), str(Path(__file__).resolve().parent)]

from synthetic_study import MakeStudy, write_study  # noqa: E402 (the path above comes first)


@pytest.fixture
def make_study(tmp_path: Path) -> MakeStudy:
    """A function that writes a synthetic study to the test's folder."""
    return functools.partial(write_study, tmp_path / "study")
