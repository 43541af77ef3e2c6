"""``python -m clever.gpu_check``: see the package."""

from __future__ import annotations

import argparse
import datetime
import os
import shutil
import sys
import tempfile
from pathlib import Path

import torch

import clever.gpu_check
from clever.errors import UserError
from clever.gpu_check.journal import Journal
from clever.gpu_check.plan import Plan
from clever.gpu_check.sizes import sizes_for
from clever.provenance import hardware, package_versions, source_commit

SECTIONS = ("correctness", "speed", "study")
_ROOM = 8e9
"""Bytes that training states, weights and compiled code may need."""


def main() -> int:
    """Run the requested sections.

    Returns:
        0 if every step succeeded; 1 if one did not; 2 if nothing could be started.
    """
    arguments = _parser().parse_args()
    device = "cpu" if arguments.rehearse else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        print("no GPU found: nothing was run. `make gpu-rehearsal` runs the same steps at tiny sizes on this CPU")
        return 2
    unknown = [name for name in arguments.only if name not in SECTIONS]
    if unknown:
        print(f"error: --only {unknown[0]} is unknown; choose from {', '.join(SECTIONS)}", file=sys.stderr)
        return 2
    commit, dirty = source_commit()
    described = hardware(torch.device(device)) | package_versions()
    facts = {
        "commit": commit,
        "dirty": dirty,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "machine": described,
        "minutes": arguments.minutes,
        "rehearsal": arguments.rehearse,
        "decision": None,
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_scratch(), ignore_cleanup_errors=True) as work:
        journal = Journal(arguments.output, Path(work), facts)
        journal.say(f"{described.get('gpu', described['processor'])}, torch {torch.__version__}, commit {commit}")
        try:
            plan = Plan(sizes_for(device), journal, arguments.minutes, arguments.data, arguments.only, arguments.cases)
            plan.follow(arguments.study, arguments.first_seed)
        except UserError as error:
            journal.say(f"error: {error}")
            return 2
        finally:
            journal.write()
            journal.pack()
    journal.say(f"written to {arguments.output}")
    return 0 if all(outcome.good for outcome in journal.outcomes.values()) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m clever.gpu_check",
        description=clever.gpu_check.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="folder for the results")
    parser.add_argument("--minutes", type=float, default=9.0, help="time limit of the whole check (default 9)")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("gpu_data"),
        metavar="FOLDER",
        help="folder of cifar10.npz, the slice written by clever.gpu_check.slice (default gpu_data)",
    )
    parser.add_argument("--rehearse", action="store_true", help="all steps at tiny sizes on the CPU")
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=list(SECTIONS),
        metavar="SECTIONS",
        help=", ".join(SECTIONS),
    )
    parser.add_argument(
        "--cases",
        type=lambda text: text.split(","),
        metavar="NAMES",
        help="only these steps of the section speed, for example after a change (default: all)",
    )
    parser.add_argument("--study", metavar="NAME", help="run this study, regardless of the preceding trial")
    parser.add_argument(
        "--first-seed", type=int, default=0, metavar="N", help="begin with this seed, to continue an earlier call"
    )
    return parser


def _scratch() -> str | None:
    """``/dev/shm`` if it has room, since states are saved every few seconds; else None, the usual temporary folder."""
    memory = Path("/dev/shm")
    with_room = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM
    return str(memory) if with_room else None


if __name__ == "__main__":
    sys.exit(main())
