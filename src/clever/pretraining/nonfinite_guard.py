"""Holds the weights in a step whose loss or gradient is not finite, without waiting for the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from clever.collectives import average_over_processes


class Guard:
    """Takes the optimiser's step where loss and gradients are finite, and no step where they are not.

    Which it was is decided on the device; the host learns of it at its next look (``EpochTotals.check``). Where the
    optimiser itself can leave a step out (torch's fused AdamW, by the mechanism of ``torch.amp.GradScaler``) that
    costs nothing. Others are held by copies of parameters and momenta, and what a forward pass moves (BatchNorm's
    statistics, DINO's centre) is held too, both only where the run is to go on afterwards (``skip``). The teacher's
    average goes on: the student that it follows is as it was.

    Args:
        optimiser: of the student.
        student: its parameters are known by their places in ``named_parameters``.
        modules: whose buffers a step may move.
        skip: whether the run goes on after such a step.
    """

    def __init__(
        self, optimiser: torch.optim.Optimizer, student: nn.Module, modules: Sequence[nn.Module], skip: bool
    ) -> None:
        self.names = [name for name, _ in student.named_parameters()]
        self.broken: Tensor | None = None
        """Of the last step, a scalar on the device: the place of the first parameter whose gradient was not finite,
        -1 where there was none."""
        self._optimiser, self._modules, self._skip = optimiser, modules, skip
        self._parameters = list(student.parameters())
        self._places: dict[tuple[int, ...], Tensor] = {}
        self._kept: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def begin(self) -> None:
        """Remember what the forward pass of a step moves."""
        if self._skip:
            self._kept = [(buffer, buffer.clone()) for module in self._modules for buffer in module.buffers()]

    @torch.no_grad()
    def step(self, values: Mapping[str, Tensor]) -> None:
        """The optimiser's step, or none.

        Args:
            values: the step's scalars (losses, gradient norm); gradients may be clipped already, since clipping leaves
                no infinite gradient finite.
        """
        places = tuple(place for place, parameter in enumerate(self._parameters) if parameter.grad is not None)
        norms = torch.stack(list(torch._foreach_norm([p.grad for p in self._parameters if p.grad is not None])))
        finite = norms.isfinite()
        # Not by [...], which would bring the index to the host.
        first = self._on_device(places, norms.device).take((~finite).int().argmax())
        self.broken = torch.where(finite.all(), -1, first)
        good = finite.all() & torch.stack([value.detach().float() for value in values.values()]).isfinite().all()
        if self._skip:
            good = average_over_processes(good.float()) == 1  # all processes take the step, or none does
        self._take(good)
        for buffer, kept in self._kept:
            torch.where(good, buffer, kept, out=buffer)
        self._kept = []

    def _take(self, good: Tensor) -> None:
        if getattr(self._optimiser, "_step_supports_amp_scaling", False):
            self._optimiser.found_inf = (~good).float()  # type: ignore[attr-defined]
            self._optimiser.step()
        elif self._skip:
            before = {id(tensor): tensor.clone() for tensor in self._moved()}
            self._optimiser.step()
            for tensor in self._moved():
                # A momentum that this step has made was nothing before it.
                torch.where(good, tensor, before.get(id(tensor), torch.zeros_like(tensor)), out=tensor)
        else:
            self._optimiser.step()

    def _moved(self) -> list[Tensor]:
        """Parameters with a gradient, and what the optimiser remembers of them."""
        moved: list[Tensor] = [parameter for parameter in self._parameters if parameter.grad is not None]
        remembered = [value for parameter in moved for value in self._optimiser.state[parameter].values()]
        return moved + [value for value in remembered if isinstance(value, Tensor)]

    def _on_device(self, places: tuple[int, ...], device: torch.device) -> Tensor:
        if places not in self._places:
            self._places[places] = torch.tensor(places, device=device)
        return self._places[places]
