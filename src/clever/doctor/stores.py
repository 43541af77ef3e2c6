"""Estimate the size of a data set's prepared store before it is prepared."""

from __future__ import annotations

from clever.data import DataOptions
from clever.data.counts import stored_side
from clever.data.registry import SOURCES
from clever.data.store_sizes import LABEL_BYTES, NAME_BYTES


def store_bytes(options: DataOptions) -> int | None:
    """Bytes of the store that these options produce; None if the size is known only after preparation.

    The counts come from the facts of the source, from the limits, or from the files (``SourceKind.store_bytes``).
    """
    kind = SOURCES[options.source]
    if kind.store_bytes is not None:
        return kind.store_bytes(options)
    side = stored_side(options)
    if side is None:
        return None
    images = 0
    fixed = kind.counts or (None, None)
    for place, limit in enumerate((options.train_limit, options.test_limit)):
        drawn = None if kind.drawn is None else limit or kind.drawn[place]
        known = [count for count in (limit, fixed[place]) if count is not None]
        count = drawn or min(known, default=None)
        if count is None:
            return None
        images += count
    return images * (3 * side**2 + LABEL_BYTES + (NAME_BYTES if kind.files else 0))
