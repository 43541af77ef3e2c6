"""Sums of an epoch's named scalars, kept on the device and looked at now and then."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from clever.collectives import average_over_processes
from clever.errors import UserError

SKIPPED_IN_A_ROW = 10
"""Steps in a row that may be skipped. More of them are no accident that the run would get over."""


class NotFiniteError(UserError):
    """A loss term or a gradient was NaN or infinite."""


class EpochTotals:
    """Adds up each step's scalars without waiting for the device.

    ``check`` copies the steps since the last look to the host in one transfer; until it has passed, nothing of these
    steps may be saved.

    Args:
        parameters: names of the parameters, by the places that ``add`` is told.
        skip: leave out steps that are not finite, and count them, instead of raising at the first.
        in_a_row: steps that were skipped just before this epoch.
    """

    def __init__(self, parameters: Sequence[str] = (), skip: bool = False, in_a_row: int = 0) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0
        self.skipped = 0
        self._parameters, self._skip, self._in_a_row = parameters, skip, in_a_row
        self._pending: list[Tensor] = []
        self._names: tuple[str, ...] = ()

    def next_epoch(self) -> EpochTotals:
        """Empty sums for the epoch that follows."""
        return EpochTotals(self._parameters, self._skip, self._in_a_row)

    def add(self, values: Mapping[str, Tensor], broken: Tensor | None = None) -> None:
        """One step's scalars; the names must be the same in every step.

        Args:
            values: losses and norms.
            broken: the place of the first parameter whose gradient was not finite, -1 or None where there was none.
        """
        self._names = tuple(values)
        scalars = [value.detach().float() for value in values.values()]
        place = torch.full_like(scalars[0], -1) if broken is None else broken.to(scalars[0])
        self._pending.append(torch.stack([*scalars, place]))

    def check(self, last_iteration: int) -> list[str]:
        """Add the pending steps to the sums, as means over all processes.

        Args:
            last_iteration: the iteration of the newest pending step.

        Returns:
            What was wrong with each step that was skipped, naming terms or parameter, and step.

        Raises:
            NotFiniteError: a step was not finite, by the same name, and is not to be skipped or is the last of too
                many in a row.
        """
        if not self._pending:
            return []
        rows = average_over_processes(torch.stack(self._pending)).cpu().double().tolist()
        self._pending = []
        faults = []
        for step, (*row, place) in enumerate(rows, start=last_iteration - len(rows) + 1):
            named = dict(zip(self._names, row, strict=True))
            fault = self._fault(named, int(place))
            if fault is None:
                for name, value in named.items():
                    self.sums[name] = self.sums.get(name, 0.0) + value
                self.count, self._in_a_row = self.count + 1, 0
                continue
            faults.append(f"{fault} at step {step}")
            if not self._skip:
                raise NotFiniteError(faults[-1])
            self.skipped, self._in_a_row = self.skipped + 1, self._in_a_row + 1
            if self._in_a_row > SKIPPED_IN_A_ROW:
                raise NotFiniteError(f"{faults[-1]}, after {SKIPPED_IN_A_ROW} steps in a row had been skipped")
        return faults

    def means(self) -> dict[str, float]:
        """The mean of every scalar over the checked steps; empty where there was none."""
        return {name: total / self.count for name, total in self.sums.items()}

    def state_dict(self) -> dict[str, Any]:
        """What a state has to keep; call ``check`` first."""
        return {"sums": self.sums, "count": self.count, "skipped": self.skipped, "in_a_row": self._in_a_row}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved epoch."""
        self.sums, self.count = dict(state["sums"]), state["count"]
        self.skipped, self._in_a_row = state["skipped"], state["in_a_row"]

    def _fault(self, named: Mapping[str, float], place: int) -> str | None:
        """What is not finite in a step; None where all is."""
        broken = [name for name, value in named.items() if not math.isfinite(value)]
        # The whole loss and the gradients only follow the terms.
        terms = [name for name in broken if name.startswith("loss_")]
        if terms:
            return ", ".join(f"{name} is {named[name]}" for name in terms)
        if place >= 0:
            return f"the gradient of {self._parameters[place]} is not finite"
        return f"{broken[0]} is {named[broken[0]]}" if broken else None
