"""Options of protocols that read a separate data set from disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self, TypeVar

from pydantic import NonNegativeInt, PositiveInt

from clever.errors import UserError
from clever.evaluation.options.protocol import ProtocolOptions
from clever.invocation import GIVE_PARENT

_Item = TypeVar("_Item")


class ExternalOptions(ProtocolOptions):
    """The folder of the data set, and the number of items used."""

    root: str
    """Folder of the data set as distributed by its authors; a relative path is relative to data_root."""
    limit: PositiveInt | None = None
    """Use only this many photographs or sequences, the first ones by name, for CPU studies; omit to use all."""

    def at(self, data_root: str) -> Self:
        """The same block with ``root`` joined to ``data_root``."""
        return self.model_copy(update={"root": str(Path(data_root) / self.root)})

    def first(self, items: Sequence[_Item]) -> list[_Item]:
        """The items within ``limit``."""
        return list(items[: self.limit])

    def check_folder(self) -> None:
        """Check that the data set exists, as ``require`` does; if nothing is there, explain how to name another folder.

        Raises:
            UserError: as for ``require``, or ``root`` does not exist.
        """
        if not Path(self.root).is_dir():
            raise UserError(f"there is no folder {self.root}; {GIVE_PARENT}")
        self.require()

    def require(self) -> None:
        """Check that the data set's folders or files exist, without reading them.

        Raises:
            UserError: something is missing; the message names it and its expected place.
        """
        raise NotImplementedError


class PicturedOptions(ExternalOptions):
    """The same options, and the number of photographs for figures."""

    pictures: NonNegativeInt = 4
    """Number of photographs that are kept for figures, spread evenly over the used photographs. They are stored with
    the study's results. 0 keeps none."""

    def pictured(self, count: int) -> list[int]:
        """Indices of the kept photographs among ``count``, ascending."""
        import numpy as np  # reading a study needs no arrays

        spread = np.linspace(0, count - 1, min(self.pictures, count)).round()
        return sorted({int(place) for place in spread})
