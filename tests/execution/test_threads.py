"""Impossible numbers of threads are rejected before anything is loaded."""

from __future__ import annotations

import os

import pytest

from clever.cli import main
from clever.errors import UserError
from clever.execution.threads import AT_LEAST, require_threads


@pytest.mark.parametrize("count", [None, 0, 1, AT_LEAST, os.cpu_count()])
def test_possible_numbers_are_accepted(count: int | None) -> None:
    require_threads(count, "--threads")


@pytest.mark.parametrize("count", [100_000, -1, 10**12])
def test_impossible_numbers_are_rejected(count: int) -> None:
    with pytest.raises(UserError, match=rf"^--threads {count}: this machine has \d+ processors; choose 1 to \d+$"):
        require_threads(count, "--threads")


@pytest.mark.parametrize(
    "line",
    [
        "pretrain --recipe {} --store s --output o --threads 100000",
        "pretrain --recipe {} --store s --output o --workers 100000",
        "evaluate --protocol knn --options {} --run r --store s --output o --threads 100000",
    ],
)
def test_the_command_line_rejects_them_first(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    assert capsys.readouterr().err.startswith(f"error: {line.split()[-2]} 100000: this machine has ")
