"""Notes of a protocol about its records: warnings that a job saves with them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class RecordNote(UserWarning):
    """A warning that a reader of the records should see."""


def note(text: str) -> None:
    """Add a note about the records being measured."""
    warnings.warn(text, RecordNote, stacklevel=2)


@contextmanager
def collected_notes() -> Iterator[list[str]]:
    """Collect the notes of the block, each text once; they are complete when the block ends. Other warnings are passed
    on."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RecordNote)
        yield found
    for warning in caught:
        if not issubclass(warning.category, RecordNote):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        elif str(warning.message) not in found:
            found.append(str(warning.message))
