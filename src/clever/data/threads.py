"""Process tasks in several threads, returning results in order and keeping a bounded number of them in memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def available_cores(at_most: int = 16) -> int:
    """Number of CPU cores that this process may use (in a Slurm job, those allocated to it), at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, min(at_most, len(os.sched_getaffinity(0))))
    return max(1, min(at_most, os.cpu_count() or 1))


def ordered_map(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int, ahead: int
) -> Iterator[Result]:
    """``map`` over ``workers`` threads: results in the order of the tasks, at most ``ahead`` of them waiting.

    Pillow releases the global interpreter lock while it decodes and resizes, so threads are as fast as processes.
    """
    pool = ThreadPoolExecutor(workers)
    try:
        waiting: deque[Future[Result]] = deque()
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
