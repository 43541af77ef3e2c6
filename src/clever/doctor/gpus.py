"""Check the GPUs, their driver, and whether the installed torch can use them."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from clever.doctor.finding import Finding, gigabytes

DRIVER_FILE = Path("/proc/driver/nvidia/version")

OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
"""First driver branch that runs programs built for this major version of CUDA (NVIDIA, CUDA Compatibility, minor
version compatibility)."""


def check_gpus() -> Iterator[Finding]:
    """Yield one finding per GPU and one for the driver, or a single one that says why no GPU is used."""
    import torch

    driver = driver_version()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    if not usable:
        yield _why_none(torch.version.cuda, driver, [str(warning.message) for warning in warned])
        return
    yield _compare_driver(torch.version.cuda, driver)
    for index in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_name(index)
        try:
            # The first kernel fails if torch was not built for this generation of GPUs.
            torch.ones(1, device=f"cuda:{index}").add(1).item()
            free, total = torch.cuda.mem_get_info(index)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:150]
            yield Finding(
                f"GPU {index}", "FAIL", f"{name}: cannot compute ({reason}); free it, or install another torch"
            )
            continue
        text = f"{name}, {gigabytes(total)}, {gigabytes(free)} free"
        busy = free < 0.9 * total
        yield Finding(f"GPU {index}", "warning" if busy else "ok", text + (": other processes use it" if busy else ""))


def driver_version() -> str | None:
    """The version of NVIDIA's kernel module; None if it is not loaded."""
    try:
        found = re.search(r"Kernel Module\D*(\d+(?:\.\d+)+)", DRIVER_FILE.read_text(encoding="utf-8"))
    except OSError:
        return None
    return found[1] if found else None


def _why_none(cuda: str | None, driver: str | None, warned: list[str]) -> Finding:
    if driver is None:
        return Finding("GPU", "ok", "no GPU: runs on the CPU")
    if cuda is None:
        return Finding(
            "GPU", "FAIL", f"found driver {driver}, but this torch is built for the CPU; install a CUDA build"
        )
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return Finding("GPU", "warning", f"CUDA_VISIBLE_DEVICES={hidden!r} hides the GPUs: runs on the CPU; unset it")
    old = _too_old(cuda, driver)
    reason = old or " ".join(" ".join(warned).split())[:200] or "torch gives no reason"
    return Finding("GPU", "FAIL", f"found driver {driver}, but torch cannot use a GPU ({reason}); see nvidia-smi")


def _compare_driver(cuda: str | None, driver: str | None) -> Finding:
    if cuda is None or driver is None:  # torch also calls AMD's GPUs cuda
        return Finding("driver", "ok", "not NVIDIA's, or of unknown version; torch can use the GPUs")
    old = _too_old(cuda, driver)
    if old:  # torch still finds the GPUs, through NVIDIA's compatibility package
        return Finding("driver", "warning", f"{old}; update the driver, or install a torch built for an older CUDA")
    return Finding("driver", "ok", f"{driver}, new enough for CUDA {cuda}, which torch was built for")


def _too_old(cuda: str, driver: str) -> str | None:
    oldest = OLDEST_DRIVER.get(int(cuda.split(".")[0]))
    if oldest is None or int(driver.split(".")[0]) >= oldest:
        return None
    return f"driver {driver} is too old for CUDA {cuda}, which torch was built for: {oldest} or newer is needed"
