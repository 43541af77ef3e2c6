"""A fault, how it is tried, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Try = Callable[[Path], str]
"""Given an empty folder, brings the fault about and returns the line that a user reads (empty where there is none).

Raises :class:`Unexpected`, or anything else, where it does not end as expected.
"""


class Unexpected(Exception):  # noqa: N818 (an outcome, not an error)
    """A try did not end as expected; the text says how it did end."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    group: int
    """The row's number in the list of faults; several kinds of one fault share it."""
    fault: str
    expected: str
    tries: Sequence[Try]


@dataclass(frozen=True)
class Outcome:
    """What came of the tries of a row."""

    row: Row
    said: list[str]
    """By try that ended as expected, the line that a user reads."""
    unexpected: list[str]
    """How each other try ended."""
    seconds: float
    """Of all tries together."""


def expect(condition: object, otherwise: str) -> None:
    """Raise :class:`Unexpected` with the text unless the condition holds."""
    if not condition:
        raise Unexpected(otherwise)
