"""What a protocol has to say of its records: a warning of a kind that a job writes down with them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class RecordNote(UserWarning):
    """Something that a reader of the records should know."""


def note(text: str) -> None:
    """Say something of the records that are being measured."""
    warnings.warn(text, RecordNote, stacklevel=2)


@contextmanager
def collected_notes() -> Iterator[list[str]]:
    """Collect what is noted within the block, each text once; it is there when the block has ended. Others pass."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RecordNote)
        yield found
    for warning in caught:
        if not issubclass(warning.category, RecordNote):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        elif str(warning.message) not in found:
            found.append(str(warning.message))
