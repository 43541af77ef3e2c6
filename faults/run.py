"""``python -m faults.run``: try every fault and write the table; exit status 1 if one does not end as expected."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import torch

from clever.files import write_text
from clever.provenance import hardware
from faults import (
    damaged,
    disk,
    exports,
    flips,
    hostile,
    images,
    killed,
    neighbours,
    not_finite,
    studies,
    surroundings,
    unreadable,
    workflow,
)
from faults.bench import Bench
from faults.job import import_what_jobs_import
from faults.mounts import can_mount
from faults.runner import run
from faults.table import page

GROUPS = (
    workflow.rows,
    flips.rows,
    killed.rows,
    disk.rows,
    damaged.rows,
    images.rows,
    neighbours.rows,
    not_finite.rows,
    studies.rows,
    exports.rows,
    hostile.rows,
    unreadable.rows,
    surroundings.rows,
)
"""Long rows first, so that no core is idle at the end."""


def main() -> int:
    """Run the drill.

    Returns:
        0 if every try ended as expected, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m faults.run", description=__doc__)
    parser.add_argument("--output", type=Path, metavar="FILE", help="file for the table (default: print it)")
    parser.add_argument("--only", type=int, nargs="*", metavar="N", help="rows to try (default: all)")
    parser.add_argument("--tries", type=int, metavar="N", help="tries per row (default: each row's number)")
    parser.add_argument(
        "--at-once",
        type=int,
        default=_cores(),
        metavar="N",
        help="tries to run in parallel (default: the number of cores)",
    )
    arguments = parser.parse_args()
    # One thread here and in every fork: bits depend on the number of threads, and forks must not inherit a thread pool.
    torch.set_num_threads(1)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        Path(folder).chmod(0o755)  # one try runs as another user
        bench = Bench(Path(folder) / "bench", can_mount())
        import_what_jobs_import()
        rows = [row for group in GROUPS for row in group(bench, arguments.tries)]
        rows = [row for row in rows if not arguments.only or row.group in arguments.only]
        bench.make()
        outcomes = run(rows, Path(folder), arguments.at_once)
    text = page(outcomes, _machine(), time.monotonic() - started)
    if arguments.output:
        write_text(arguments.output, text)
    else:
        print(text)
    failures = [f"{o.row.group} {o.row.fault}: {text}" for o in outcomes for text in o.unexpected]
    for failure in failures:
        print(f"not as expected: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _cores() -> int:
    return min(8, len(os.sched_getaffinity(0)))


def _machine() -> str:
    found = hardware(torch.device("cpu"))
    return f"{found['cores']} cores of {found['processor']}"


if __name__ == "__main__":
    sys.exit(main())
