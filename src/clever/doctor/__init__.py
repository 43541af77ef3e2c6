"""Check a machine before a study, to find in seconds the problems that would otherwise stop the study after hours.

Only a probe file is written, and it is removed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clever.doctor.finding import Finding
from clever.doctor.gpus import check_gpus
from clever.doctor.machine import check_clock, check_cores, check_folder, check_shared_memory
from clever.doctor.software import (
    check_packages,
    check_python,
    check_snakemake,
    check_source,
    check_torch_pair,
    checkout,
)
from clever.errors import UserError

__all__ = ["Finding", "examine"]


def examine(study_file: Path | None, data_root: str | None = None, verify: bool = False) -> Iterator[Finding]:
    """Check this machine, and a study against it; yield the findings one by one.

    Args:
        study_file: the study; None checks the machine and its packages only.
        data_root: folder that relative data roots are relative to; None means the default.
        verify: read prepared stores completely and verify their checksums.
    """
    root = checkout()
    yield check_python(root)
    yield from check_packages(root)
    pair = check_torch_pair()
    yield pair
    yield check_snakemake()
    yield check_cores()
    yield check_folder("working folder", Path())
    if pair.state == "FAIL":  # everything below imports torch
        yield Finding("the rest", "FAIL", "not checked, because torch does not work; fix that and run the doctor again")
        return
    yield check_source()
    yield from check_gpus()
    yield check_shared_memory(_gpu_count())
    files = [Path(__file__).parents[1]]
    if study_file is not None:
        files.append(study_file)
        yield from _check_study(study_file, data_root, verify, files)
    yield check_clock(path for start in files for path in (start.rglob("*") if start.is_dir() else [start]))


def _check_study(study_file: Path, data_root: str | None, verify: bool, files: list[Path]) -> Iterator[Finding]:
    """The study's findings; adds its results folder to ``files``, whose dates are checked."""
    from clever.config import load_study  # imports timm, which takes seconds
    from clever.doctor.study import check_study
    from clever.invocation import DATA_ROOT

    try:
        study = load_study(study_file)
    except UserError as error:
        yield Finding("study", "FAIL", str(error))
        return
    yield Finding("study", "ok", f"{study_file}: {study.study}, {len(study.recipes())} runs")
    results = Path("results") / study.study
    files.append(results)
    yield check_folder("results folder", results)
    try:
        yield from check_study(study, verify, data_root or DATA_ROOT)
    except UserError as error:  # for example, a backbone that cannot be built with its options
        yield Finding("study", "FAIL", str(error))


def _gpu_count() -> int:
    import torch

    return torch.cuda.device_count()
