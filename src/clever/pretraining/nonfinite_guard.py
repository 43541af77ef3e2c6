"""Handle steps whose loss or gradient is not finite: skip them, name the cause, and stop the run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from clever.collectives import average_over_processes
from clever.errors import UserError

SKIPPED_IN_A_ROW = 10
"""Largest number of consecutive steps that may be skipped. A run does not recover from more."""


class NotFiniteError(UserError):
    """A loss term or a gradient was NaN or infinite."""


class Checked(NamedTuple):
    """The steps since the last check."""

    rows: list[dict[str, float]]
    """The scalars of each finite step, as means over all processes."""
    faults: list[str]
    """The fault of each skipped step: the terms or the parameter, and the step."""


class Guard:
    """Takes the optimiser's step if loss and gradients are finite, and skips it if they are not.

    The device decides; nothing in ``begin`` and ``step`` waits for it. The host reads the scalars of all steps since
    the last ``check`` in one transfer. Until ``check`` has passed, nothing of these steps may be saved.

    An optimiser that can skip a step itself (torch's fused AdamW, by the mechanism of ``torch.amp.GradScaler``) costs
    nothing. For others, parameters and momenta are copied and restored. Buffers that a forward pass changes
    (BatchNorm's statistics, DINO's centre) are restored too. Both happen only if the run continues after such a step
    (``skip``). The teacher's average is updated as usual, since the student that it follows has not changed.

    Args:
        optimiser: the student's optimiser.
        student: its parameters are identified by their position in ``named_parameters``.
        modules: the modules whose buffers a step may change.
        skip: whether the run continues after such a step; if not, ``check`` raises.
    """

    def __init__(
        self, optimiser: torch.optim.Optimizer, student: nn.Module, modules: Sequence[nn.Module], skip: bool
    ) -> None:
        self.in_a_row = 0
        """Steps skipped in a row up to the last check; a training state must keep it."""
        self._optimiser, self._modules, self._skip = optimiser, modules, skip
        self._parameters = list(student.parameters())
        self._parameter_names = [name for name, _ in student.named_parameters()]
        self._places: dict[tuple[int, ...], Tensor] = {}
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._names: tuple[str, ...] = ()
        self._pending: list[Tensor] = []

    @torch.no_grad()
    def begin(self) -> None:
        """Copy the buffers that the forward pass of a step changes."""
        if self._skip:
            self._kept = [(buffer, buffer.clone()) for module in self._modules for buffer in module.buffers()]

    @torch.no_grad()
    def step(self, values: Mapping[str, Tensor]) -> None:
        """Take the optimiser's step, or skip it.

        Args:
            values: the step's scalars (losses, gradient norm), with the same names in every step. The gradients may be
                clipped already, since clipping leaves no infinite gradient finite.
        """
        places = tuple(place for place, parameter in enumerate(self._parameters) if parameter.grad is not None)
        norms = torch.stack(list(torch._foreach_norm([p.grad for p in self._parameters if p.grad is not None])))
        finite = norms.isfinite()
        # Not by [...], which would bring the index to the host.
        first = self._on_device(places, norms.device).take((~finite).int().argmax())
        broken = torch.where(finite.all(), -1, first)
        scalars = [value.detach().float() for value in values.values()]
        good = finite.all() & torch.stack(scalars).isfinite().all()
        if self._skip:
            good = average_over_processes(good.float()) == 1  # either all processes take the step or none does
        self._take(good)
        for buffer, kept in self._kept:
            torch.where(good, buffer, kept, out=buffer)
        self._kept = []
        self._names = tuple(values)
        self._pending.append(torch.stack([*scalars, broken.to(scalars[0])]))

    def check(self, last_iteration: int) -> Checked:
        """Read the steps since the last check; waits for the device.

        Args:
            last_iteration: the iteration of the newest step.

        Raises:
            NotFiniteError: a step was not finite and the run does not skip such steps, or too many consecutive steps
                were not finite.
        """
        if not self._pending:
            return Checked([], [])
        table = average_over_processes(torch.stack(self._pending)).cpu().double().tolist()
        self._pending = []
        good: list[dict[str, float]] = []
        faults: list[str] = []
        for iteration, (*scalars, place) in enumerate(table, start=last_iteration - len(table) + 1):
            row = dict(zip(self._names, scalars, strict=True))
            fault = self._fault(row, int(place))
            if fault is None:
                good.append(row)
                self.in_a_row = 0
                continue
            faults.append(f"{fault} at step {iteration}")
            if not self._skip:
                raise NotFiniteError(faults[-1])
            self.in_a_row += 1
            if self.in_a_row > SKIPPED_IN_A_ROW:
                raise NotFiniteError(f"{faults[-1]}, after {SKIPPED_IN_A_ROW} steps in a row had been skipped")
        return Checked(good, faults)

    def _take(self, good: Tensor) -> None:
        if getattr(self._optimiser, "_step_supports_amp_scaling", False):
            self._optimiser.found_inf = (~good).float()  # type: ignore[attr-defined]
            self._optimiser.step()
        elif self._skip:
            before = {id(tensor): tensor.clone() for tensor in self._moved()}
            self._optimiser.step()
            for tensor in self._moved():
                # A momentum created in this step did not exist before it.
                torch.where(good, tensor, before.get(id(tensor), torch.zeros_like(tensor)), out=tensor)
        else:
            self._optimiser.step()

    def _moved(self) -> list[Tensor]:
        """Parameters with a gradient, and the optimiser's state for them."""
        moved: list[Tensor] = [parameter for parameter in self._parameters if parameter.grad is not None]
        remembered = [value for parameter in moved for value in self._optimiser.state[parameter].values()]
        return moved + [value for value in remembered if isinstance(value, Tensor)]

    def _on_device(self, places: tuple[int, ...], device: torch.device) -> Tensor:
        if places not in self._places:
            self._places[places] = torch.tensor(places, device=device)
        return self._places[places]

    def _fault(self, row: Mapping[str, float], place: int) -> str | None:
        """The non-finite values of a step, as text, or None if everything is finite.

        Args:
            row: the step's scalars.
            place: position of the first parameter whose gradient is not finite; -1 if there is none.
        """
        broken = [name for name, value in row.items() if not math.isfinite(value)]
        # The total loss and the gradients are not finite either if a term is not.
        terms = [name for name in broken if name.startswith("loss_")]
        if terms:
            return ", ".join(f"{name} is {row[name]}" for name in terms)
        if place >= 0:
            return f"the gradient of {self._parameter_names[place]} is not finite"
        return f"{broken[0]} is {row[broken[0]]}" if broken else None
