"""Work on some rows of a batch at a time, so that intermediate results stay in cache, and on all processor cores.

torch spreads one operation over the cores and makes them wait for each other at its end. On a CPU, where a recipe is
hundreds of short operations, whole chunks are spread instead: faster, and far less disturbed by other programs.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch
from torch import Tensor

from clever.augmentation.tables import upload

# Eight views of 224 px: the fewer rows, the more of the time goes into calling operations; measured.
_CPU_BYTES = 5 * 2**20
_CPU_CHUNKS = 8
# Large enough to fill a GPU, small beside its memory.
_GPU_BYTES = 2**30
# From here on copying row by row is faster than torch's index_copy_, which does not see that rows are contiguous.
_LARGE_ROW = 2**14


def in_chunks(work: Callable[[Tensor], None], rows: Tensor, row_bytes: int, device: torch.device) -> None:
    """Call ``work`` with consecutive parts of ``rows``, at once on several cores where the device is a CPU.

    Args:
        work: must treat every row on its own, and gets no gradients or autocasting.
        rows: int64 [R], CPU.
        row_bytes: the largest intermediate result of a row.
    """
    limit = (_CPU_BYTES if device.type == "cpu" else _GPU_BYTES) // row_bytes
    if device.type == "cpu":
        _keep_memory()
        # Some chunks for every core, yet never cut by how many there are: that might change the last bit.
        limit = min(limit, math.ceil(len(rows) / _CPU_CHUNKS))
    parts = math.ceil(len(rows) / max(1, limit))
    if device.type == "cpu":
        chunks = torch.split(rows, max(1, limit))
    else:
        # As even as can be: no small rest that costs as many launches, and few sizes for a compiler.
        chunks = torch.split(rows, math.ceil(len(rows) / max(1, parts)))

    def quietly(chunk: Tensor) -> None:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            work(chunk)

    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1 or len(chunks) == 1:
        for chunk in chunks:
            quietly(chunk)
    else:
        for _ in _pool(threads).map(quietly, chunks):
            pass


def take_rows(images: Tensor, rows: Tensor) -> Tensor:
    """A copy of the named rows."""
    return images.index_select(0, rows)


def put_rows_(images: Tensor, rows: Tensor, values: Tensor) -> None:
    """Write ``values`` to the named rows of ``images``."""
    if images.device.type == "cpu" and images[0].numel() >= _LARGE_ROW:
        for row, value in zip(rows.tolist(), values, strict=True):
            images[row].copy_(value)
    else:
        images.index_copy_(0, rows, values)


def set_rows(flags: Tensor, device: torch.device) -> Sequence[Tensor]:
    """The rows that are set in a CPU column, on the device: one tensor, or none at all if no row is set."""
    rows = flags.nonzero().squeeze(1)
    return [upload(rows, device)] if len(rows) else []


@lru_cache(maxsize=1)
def _keep_memory() -> None:
    """Let the C library keep freed intermediate results instead of returning them to the system.

    glibc raises the size up to which it does so to that of the largest block given back, at most 32 MiB. Without this,
    most of an intermediate result's cost is the system clearing its pages again and again. Nothing is touched here,
    and a library without the rule loses nothing.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that each compute on one core."""
    ready = threading.Barrier(threads + 1)

    def begin() -> None:
        # A thread's first parallel operation adopts the process's number of threads. Asking for it does so too, and
        # the thread's own number stands from then on.
        torch.get_num_threads()
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(threads, "augmentation", begin)
    for _ in range(threads):
        pool.submit(int)
    ready.wait()
    # The setting belongs to the thread that makes it, but also becomes the default of threads begun later.
    torch.set_num_threads(threads)
    return pool


if hasattr(os, "register_at_fork"):
    # A forked process has the pool's object but none of its threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)
