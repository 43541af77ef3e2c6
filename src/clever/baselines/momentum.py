"""The schedule of a teacher's momentum."""

from __future__ import annotations

import math


def rising_momentum(start: float, progress: float) -> float:
    """1 - (1 - start)(cos(pi progress) + 1) / 2: rises from ``start`` at 0 to 1 at 1 (Grill et al. 2020, section
    3.3)."""
    return 1 - (1 - start) * (math.cos(math.pi * progress) + 1) / 2
