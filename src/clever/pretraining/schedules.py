"""Per-iteration schedules as closed forms of the iteration (authors' utils.py:206-217)."""

from __future__ import annotations

import math


def warmup_cosine(iteration: int, *, peak: float, final: float, total: int, warmup: int = 0) -> float:
    """Linear from 0 to ``peak`` over ``warmup`` iterations, then a cosine that approaches ``final``.

    Args:
        iteration: from 0 to ``total`` - 1.
        peak: value at the end of the warm-up.
        final: value that the cosine would reach at ``total``.
        total: all iterations, including the warm-up.
        warmup: iterations of the warm-up, the last of which already has ``peak``.
    """
    if iteration < warmup:
        return peak * iteration / max(1, warmup - 1)
    progress = (iteration - warmup) / max(1, total - warmup)
    return final + 0.5 * (peak - final) * (1 + math.cos(math.pi * progress))
