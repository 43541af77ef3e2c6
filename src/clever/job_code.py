"""The code that counts for a job: the files whose change makes its result outdated.

The workflow writes their sums into one input of each job (``clever.code_sums``), and ``run.json`` holds a digest of
those that trained the run. They are computed (see ``clever.code_closure``); only the entries and the borders are
declared here.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

from clever.code_closure import SOURCE, code_closure, registered

READING = (
    "clever",  # the version
    "clever.errors",
    "clever.files",
    "clever.options",
    "clever.parsing",
    "clever.provenance",
    "clever.sealed",
)
"""Borders of every job: code that reads, writes and validates files, and that formulates messages. Options count by
their values, which are parameters of the rules."""
BORDERS = (
    *READING,
    "clever.code_closure",
    "clever.job_code",
    "clever.data.registry",
    "clever.data.verification",
    "clever.evaluation",  # the registry of protocols
    "clever.execution*",
    "clever.implementation",
    "clever.locks",
    "clever.loggers*",
    "clever.results*",
    "clever.pretraining.code_history",
    "clever.pretraining.interruption",
    "clever.pretraining.malloc",
    "clever.run_report",
)
"""Borders of the jobs that compute: also code that reports, describes or places a job without computing its result, so
that rewording a progress line retrains no run. Registries are borders, because a job depends only on its own entries.
Facts in the registry of sources count through a store's options, and a protocol's code counts through the protocol's
name."""
METHODS = (("clever.baselines", "BASELINES"), ("clever.equivariance", "EQUIVARIANCES"))
"""The registries of methods. Shared code is cut at them and at their entries: a run depends only on its own method."""


@functools.cache
def training_code(baseline: str | None, equivariance: str | None, source: Path = SOURCE) -> tuple[Path, ...]:
    """The files that decide the result of a run.

    Args:
        baseline, equivariance: names of the run's baseline and add-on in the registries; None for a control run.
        source: the folder of the package, with which the paths begin.

    Raises:
        KeyError: a name is not in its registry.
    """
    roots = (source,)
    found = code_closure(["clever.pretraining.engine"], (*BORDERS, *_methods(source)), roots)
    for (package, registry), name in zip(METHODS, (baseline, equivariance), strict=True):
        if name is not None:
            found |= code_closure(registered(package, registry, name, source), BORDERS, roots)
    return tuple(sorted(found.values()))


@functools.cache
def preparation_code(name: str, source: Path = SOURCE) -> tuple[Path, ...]:
    """The files that decide the content of a store, by the name of its source of images.

    Raises:
        KeyError: the source is not in the registry.
    """
    found = code_closure(["clever.data.preparation"], BORDERS, (source,))
    found |= code_closure(registered("clever.data.registry", "SOURCES", name, source), BORDERS, (source,))
    return tuple(sorted(found.values()))


@functools.cache
def evaluation_code(protocol: str, source: Path = SOURCE) -> tuple[Path, ...]:
    """The files that decide the records of a protocol, in addition to those of the run and the store.

    Raises:
        KeyError: the protocol is not in the registry.
    """
    found = code_closure(["clever.evaluation.job"], (*BORDERS, *_methods(source)), (source,))
    found |= code_closure(registered("clever.evaluation", "PROTOCOLS", protocol, source), BORDERS, (source,))
    return tuple(sorted(found.values()))


@functools.cache
def collection_code(source: Path = SOURCE) -> tuple[Path, ...]:
    """The files that decide the tables collected from a study's runs."""
    entries = [f"clever.results.{name}" for name in ("curves", "records", "run_description")]
    return tuple(sorted(code_closure(entries, READING, (source,)).values()))


@functools.cache
def drawing_code(script: Path, source: Path = SOURCE) -> tuple[Path, ...]:
    """The files that decide what a script of tables or figures draws; its modules are in its own folder."""
    return tuple(sorted(code_closure([script.stem], READING, (script.parent, source)).values()))


def digest(files: Iterable[Path], source: Path = SOURCE) -> str:
    """First 16 hexadecimal digits of a SHA-256 over the names (from the package on) and contents of source files."""
    whole = hashlib.sha256()
    for path in sorted(files):
        whole.update(path.relative_to(source).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:16]


def _methods(source: Path) -> set[str]:
    """The registries of methods, and all modules of their entries."""
    modules = {module for package, registry in METHODS for module in registered(package, registry, root=source)}
    return modules | {package for package, _ in METHODS}
