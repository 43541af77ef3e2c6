"""Notes on records, printed once and stored with them."""

from __future__ import annotations

import warnings

import pytest

from clever.evaluation.notes import collected_notes, note


def test_notes_are_collected_once_each_and_other_warnings_pass() -> None:
    def measure() -> list[str]:
        with collected_notes() as notes:
            note("only 3 vote")
            note("only 3 vote")
            warnings.warn("something else", DeprecationWarning, stacklevel=1)
            note("only 4 vote")
        return notes

    with pytest.warns(DeprecationWarning, match="something else") as passed:
        notes = measure()
    assert notes == ["only 3 vote", "only 4 vote"]
    assert len(passed) == 1
