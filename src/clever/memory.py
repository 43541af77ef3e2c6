"""The memory of this machine that this process may use."""

from __future__ import annotations

import os
from pathlib import Path


def machine_memory() -> tuple[int, int]:
    """Free and total bytes of memory, within the limit of a control group (a container)."""
    sizes: dict[str, int] = {}
    try:
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            key, _, rest = line.partition(":")
            sizes[key] = int(rest.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    page = os.sysconf("SC_PAGE_SIZE")
    total = sizes.get("MemTotal", os.sysconf("SC_PHYS_PAGES") * page)
    free = sizes.get("MemAvailable", total)
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8"))
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no control group, or "max"
        return free, total
    return min(free, max(limit - used, 0)), min(total, limit)
