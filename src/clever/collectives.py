"""Collective operations for several processes that train one network together.

In a single process they return their argument, so callers need no special case. Every process must call all of them in
the same order.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """Whether several processes train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def process_rank() -> int:
    """The rank of this process; 0 if it is the only one."""
    return dist.get_rank() if is_distributed() else 0


def process_count() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if is_distributed() else 1


def is_main_process() -> bool:
    """Whether this process writes files and prints."""
    return process_rank() == 0


def average_over_processes(value: Tensor) -> Tensor:
    """The mean of ``value`` over all processes, without gradient."""
    if not is_distributed():
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def any_process(flags: list[bool], device: torch.device) -> list[bool]:
    """Return, for each flag, whether it is set in any process. The host waits for the device."""
    if not is_distributed():
        return flags
    found = torch.tensor(flags, dtype=torch.int32, device=device)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return [bool(flag) for flag in found.tolist()]


def gather_rows(value: Tensor) -> Tensor:
    """The rows of all processes, in order of their ranks: [N, ...] from each of w processes to [w * N, ...].

    Differentiable: a row's gradient is the sum of its gradients from the losses of all processes. If each loss
    is a mean over the rows of all processes, and parameter gradients are averaged over processes
    (DistributedDataParallel), the result is the gradient of one process with all rows.
    """
    if not is_distributed():
        return value
    return _GatherRows.apply(value)  # type: ignore[no-any-return]


def from_first_process(value: Tensor) -> Tensor:
    """Return the first process's ``value`` [N, ...] in every process, for random numbers that all must share. No
    gradient."""
    return gather_rows(value)[: len(value)]


def uniform_rows(rows: int, *shape: int, device: torch.device) -> Tensor:
    """Uniform numbers below 1, float32 [rows, *shape], for this process's rows of the global batch.

    A row gets the same numbers with any number of processes: those that a single process would draw with the first
    process's generator. The other processes' generators, which make their drop paths differ, are not used. With several
    processes, the host waits for the device.
    """
    if not is_distributed():
        return torch.rand(rows, *shape, device=device)
    generators = torch.cuda if device.type == "cuda" else torch
    state = from_first_process(generators.get_rng_state().to(device))
    generator = torch.Generator(device)
    generator.set_state(state.cpu())
    everyone = torch.rand(process_count() * rows, *shape, generator=generator, device=device)
    if is_main_process():
        generators.set_rng_state(generator.get_state())
    return everyone[process_rank() * rows :][:rows]


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, value: Tensor) -> Tensor:
        mine = value.contiguous()
        parts = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, mine)
        return torch.cat(parts)

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]
