"""Options of protocols that read a data set of their own from disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pydantic import PositiveInt

from clever.evaluation.options import ProtocolOptions

_Item = TypeVar("_Item")


class ExternalOptions(ProtocolOptions):
    """Where the data set is, and how much of it is used."""

    root: str
    """Folder of the data set as its authors hand it out; a relative one starts from the study's data_root."""
    limit: PositiveInt | None = None
    """Only the first so many photographs or sequences by name, for CPU studies; leave out for all."""

    def first(self, items: Sequence[_Item]) -> list[_Item]:
        """The items that ``limit`` leaves."""
        return list(items[: self.limit])

    def require(self) -> None:
        """See that the data set's folders or files are there, without reading them.

        Raises:
            UserError: what is missing, and where it was looked for.
        """
        raise NotImplementedError
