"""Compute, from the recipe alone, how much of a momentum teacher is still its initialisation.

After T steps, the teacher is m_0 m_1 ... m_{T-1} times its initial parameters plus a mixture of the student's, where
m_i is the momentum of step i. With a momentum of 0.996 and few steps, this factor is nearly 1: the evaluated network is
then still the untrained one, regardless of what the student has learnt.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from clever.baselines import BaselineOptions
from clever.pretraining.recipe import MethodOptions

LARGEST_SHARE = 0.5
"""Share of the initialisation above which a teacher counts as unmoved."""
ENOUGH = 0.05
"""Share of the initialisation that the suggested values aim at."""
_NODES = 10_000
"""Number of steps at which longer schedules are sampled."""


def initial_share(momentum: Callable[[float], float], steps: int) -> float:
    """The share of its initialisation that a teacher keeps after ``steps`` steps, in [0, 1].

    This is the product of the momenta of all steps. Beyond 10,000 steps it is computed from the geometric mean of the
    momenta at 10,000 evenly spaced steps.

    Args:
        momentum: maps the fraction of all steps that precede a step to its momentum, like
            ``BaselineOptions.teacher_momentum``.
        steps: optimiser steps of the whole run.
    """
    nodes = min(steps, _NODES)
    momenta = [momentum(((place + 0.5) / nodes) if nodes < steps else place / steps) for place in range(nodes)]
    if not all(momenta):
        return 0.0
    return math.exp(sum(map(math.log, momenta)) * (steps / max(nodes, 1)))


def teacher_share(options: BaselineOptions, steps: int) -> float | None:
    """The share of the initialisation that the teacher keeps in a run of ``steps`` steps; None without a momentum
    teacher."""
    return initial_share(options.teacher_momentum, steps) if options.has_momentum_teacher else None


def unmoved_teacher(method: MethodOptions, steps: int) -> str | None:
    """Return a warning, with values that would avoid it, if more than half of the teacher is its initialisation; else
    None.

    Args:
        method: method of the run.
        steps: optimiser steps of the whole run.
    """
    share = teacher_share(method.baseline, steps)
    if share is None or share <= LARGEST_SHARE:
        return None
    role = "the evaluated teacher" if method.baseline.evaluates_teacher else "the teacher"
    before: float | None = getattr(method.baseline, "momentum", None)
    schedule = "its momentum" if before is None else f"momentum {before:g}"
    ways = [] if before is None else [f"lower baseline.momentum to {_right_momentum(method.baseline, steps):g}"]
    if share < 1:
        ways.append(f"train for {_enough_steps(method.baseline, steps):,} steps")
    return (
        f"{role} is still {_percent(share)} its initialisation after {steps:,} steps at {schedule}; for at most "
        f"{_percent(ENOUGH)}, {' or '.join(ways)}"
    )


def _right_momentum(options: BaselineOptions, steps: int) -> float:
    """The largest momentum, in thousandths, with which at most ``ENOUGH`` of the initialisation is left."""
    low, high = 0, 1000
    while high - low > 1:
        middle = (low + high) // 2
        share = teacher_share(options.model_copy(update={"momentum": middle / 1000}), steps)
        low, high = (middle, high) if share is not None and share <= ENOUGH else (low, middle)
    return low / 1000


def _enough_steps(options: BaselineOptions, too_few: int) -> int:
    """The smallest number of steps after which at most ``ENOUGH`` of the initialisation is left."""
    momentum, enough = options.teacher_momentum, too_few
    while initial_share(momentum, enough) > ENOUGH:
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if initial_share(momentum, middle) <= ENOUGH else (middle, enough)
    return enough


def _percent(share: float) -> str:
    # Not rounded up to 100 %, because the teacher has moved.
    return f"{min(100 * share, 99.9):.3g} %" if share < 1 else "100 %"
