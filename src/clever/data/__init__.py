"""Sources of images, one prepared store for each, and batches from it.

``prepare(DataOptions(source="digits"), folder)`` writes a :class:`Store`; ``Store.open(folder).split("train")`` gives
its images; :class:`Batches` brings them to the device. A new source is one file with a function from
:class:`DataOptions` to :class:`Source`, and one line in ``SOURCES``.

Options and the registry are imported immediately; everything that needs numpy or torch is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clever.data.options import DataOptions
from clever.data.registry import SOURCES
from clever.implementation import attribute

if TYPE_CHECKING:
    from clever.data.loading import Batches
    from clever.data.preparation import prepare
    from clever.data.source import Source
    from clever.data.store import ImageBatch, Split, Store

_DEFINED_IN = {
    "Batches": "loading",
    "ImageBatch": "store",
    "Source": "source",
    "Split": "store",
    "Store": "store",
    "prepare": "preparation",
}
"""The module of each exported name that needs numpy or torch."""

__all__ = ["SOURCES", "Batches", "DataOptions", "ImageBatch", "Source", "Split", "Store", "prepare"]


def __getattr__(name: str) -> Any:
    return attribute(__name__, _DEFINED_IN, name)
