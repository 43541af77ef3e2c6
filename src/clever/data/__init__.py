"""Sources of images, one prepared store for each, and batches from it.

``prepare(DataOptions(source="digits"), folder)`` writes a :class:`Store`; ``Store.open(folder).split("train")`` gives
its images; :class:`Batches` brings them to the device. A new source is one file with a function from
:class:`DataOptions` to :class:`Source`, and one line in ``SOURCES``.
"""

from __future__ import annotations

from clever.data.loading import Batches
from clever.data.options import DataOptions
from clever.data.preparation import prepare
from clever.data.registry import SOURCES
from clever.data.source import Source
from clever.data.store import ImageBatch, Split, Store

__all__ = ["SOURCES", "Batches", "DataOptions", "ImageBatch", "Source", "Split", "Store", "prepare"]
