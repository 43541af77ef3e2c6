"""Options of protocol ``stages``."""

from __future__ import annotations

from clever.evaluation.options.linear import LinearOptions


class StagesOptions(LinearOptions):
    """The linear probe's options; ``last_blocks`` has no effect, because output vectors are concatenated."""
