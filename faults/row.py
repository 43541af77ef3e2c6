"""A fault, how it is tried, and the outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Try = Callable[[Path], str]
"""Given an empty folder, causes the fault and returns the line that a user reads (empty if there is none).

Raises :class:`Unexpected`, or any other exception, if the try does not end as expected.
"""


class Unexpected(Exception):  # noqa: N818 (an outcome, not an error)
    """A try did not end as expected; the text says how it did end."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    group: int
    """The row's number in the list of faults; variants of one fault share a number."""
    fault: str
    expected: str
    tries: Sequence[Try]


@dataclass(frozen=True)
class Outcome:
    """The outcome of the tries of a row."""

    row: Row
    said: list[str]
    """The line that a user reads, for each try that ended as expected."""
    unexpected: list[str]
    """How each of the other tries ended."""
    seconds: float
    """Seconds of all tries together."""


def expect(condition: object, otherwise: str) -> None:
    """Raise :class:`Unexpected` with the text unless the condition holds."""
    if not condition:
        raise Unexpected(otherwise)
