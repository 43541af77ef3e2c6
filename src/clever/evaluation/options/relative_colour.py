"""Options of protocol ``relative_colour``."""

from __future__ import annotations

from clever.evaluation.options.relative import RelativeOptions


class RelativeColourOptions(RelativeOptions):
    """Training and test of the head. The defaults are SIE's."""
