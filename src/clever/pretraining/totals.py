"""Sums of an epoch's named scalars, kept on the device and looked at now and then."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from clever.distribution import average_over_processes
from clever.errors import UserError


class NotFiniteError(UserError):
    """A loss term or the gradient was NaN or infinite."""


class EpochTotals:
    """Adds up each step's scalars without waiting for the device.

    ``check`` copies the steps since the last look to the host in one transfer; until it has passed, nothing of these
    steps may be saved.
    """

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0
        self._pending: list[Tensor] = []
        self._names: tuple[str, ...] = ()

    def add(self, values: Mapping[str, Tensor]) -> None:
        """One step's scalars; the names must be the same in every step."""
        self._names = tuple(values)
        self._pending.append(torch.stack([value.detach().float() for value in values.values()]))

    def check(self, last_iteration: int) -> None:
        """Add the pending steps to the sums, as means over all processes.

        Args:
            last_iteration: the iteration of the newest pending step.

        Raises:
            NotFiniteError: names the first step with a NaN or infinite scalar, and the loss terms that caused it.
        """
        if not self._pending:
            return
        rows = average_over_processes(torch.stack(self._pending)).cpu().double().tolist()
        self._pending = []
        for offset, row in enumerate(rows):
            named = dict(zip(self._names, row, strict=True))
            broken = [name for name, value in named.items() if not math.isfinite(value)]
            if broken:
                # The whole loss and the gradient only follow their terms.
                causes = [name for name in broken if name.startswith("loss_")] or broken[:1]
                step = last_iteration - len(rows) + 1 + offset
                raise NotFiniteError(f"{', '.join(f'{name} is {named[name]}' for name in causes)} at step {step}")
            for name, value in named.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
            self.count += 1

    def means(self) -> dict[str, float]:
        """The mean of every scalar over the checked steps."""
        return {name: total / self.count for name, total in self.sums.items()}

    def state_dict(self) -> dict[str, Any]:
        """What a state has to keep; call ``check`` first."""
        return {"sums": self.sums, "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved epoch."""
        self.sums, self.count = dict(state["sums"]), state["count"]
