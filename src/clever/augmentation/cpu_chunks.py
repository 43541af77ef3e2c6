"""Process a batch in chunks of rows, so that intermediate results stay in the cache, on all processor cores.

torch distributes one operation over the cores, which then wait for each other. On a CPU, where an augmentation is
hundreds of short operations, whole chunks are distributed instead. This is faster and much less sensitive to other
programs.
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

# Eight views of 224 px (measured): with fewer rows, the overhead of calling operations grows.
_CPU_BYTES = 5 * 2**20
_CPU_CHUNKS = 8
# Large enough to fill a GPU, small compared with its memory.
_GPU_BYTES = 2**30
# From this size on, copying row by row is faster than torch's index_copy_, which ignores that rows are contiguous.
_LARGE_ROW = 2**14


def in_chunks(work: Callable[[Tensor], None], rows: Tensor, row_bytes: int, device: torch.device) -> None:
    """Call ``work`` with consecutive parts of ``rows``; on a CPU, in parallel on several cores.

    Args:
        work: must process every row independently; runs without gradients and autocasting.
        rows: int64 [R], CPU.
        row_bytes: size of the largest intermediate result per row.
    """
    limit = (_CPU_BYTES if device.type == "cpu" else _GPU_BYTES) // row_bytes
    if device.type == "cpu":
        _keep_memory()
        # Several chunks per core, but of a size that does not depend on the number of cores: that could change the last
        # bit.
        limit = min(limit, math.ceil(len(rows) / _CPU_CHUNKS))
    else:
        # As even as possible: a small remainder costs as many launches, and a compiler needs few sizes.
        limit = math.ceil(len(rows) / max(1, math.ceil(len(rows) / max(1, limit))))
    chunks = torch.split(rows, max(1, limit))

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
    """A copy of the given rows."""
    return images.index_select(0, rows)


def put_rows_(images: Tensor, rows: Tensor, values: Tensor) -> None:
    """Write ``values`` to the given rows of ``images``."""
    if images.device.type == "cpu" and images[0].numel() >= _LARGE_ROW:
        for row, value in zip(rows.tolist(), values, strict=True):
            images[row].copy_(value)
    else:
        images.index_copy_(0, rows, values)


def set_rows(flags: Tensor, device: torch.device) -> Sequence[Tensor]:
    """The indices of the rows that are set in a CPU column, on the device: one tensor, or none if no row is set."""
    rows = flags.nonzero().squeeze(1)
    return [upload(rows, device)] if len(rows) else []


@lru_cache(maxsize=1)
def _keep_memory() -> None:
    """Let the C library keep freed intermediate results instead of returning them to the system.

    glibc keeps freed blocks up to a threshold, which it raises to the size of the largest freed block, at most 32 MiB.
    Allocating and freeing one large block raises it. Otherwise, most of an intermediate result's cost is the system
    clearing its pages repeatedly. The block is never written to; with other C libraries, this has no effect.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that each compute on one core."""
    ready = threading.Barrier(threads + 1)

    def begin() -> None:
        # A thread's first parallel operation adopts the process's number of threads. Querying the number does so too;
        # from then on, the thread's own number is used.
        torch.get_num_threads()
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(threads, "augmentation", begin)
    for _ in range(threads):
        pool.submit(int)
    ready.wait()
    # The setting applies to the calling thread, but also becomes the default of threads started later.
    torch.set_num_threads(threads)
    return pool


if hasattr(os, "register_at_fork"):
    # A forked process inherits the pool object but none of its threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)
