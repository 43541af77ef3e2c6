"""Options of protocol ``relative_rotation``."""

from __future__ import annotations

from clever.evaluation.options.relative import RelativeOptions


class RelativeRotationOptions(RelativeOptions):
    """Training and test of the head. The defaults are SIE's."""
