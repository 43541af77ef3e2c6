"""The command line that every script of this folder shares."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from clever.errors import UserError

PUBLISHED_FOLDER = Path(__file__).resolve().parent / "published"


def make_parser(description: str, suffixes: Sequence[str]) -> argparse.ArgumentParser:
    """A parser with ``--output``; ``suffixes`` are the file types that the script can write.

    Abbreviated options are rejected, so that a rule keeps its meaning when a script gains an option.
    """
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument(
        "--output",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help=f"files to write; the suffix chooses the format: {', '.join(suffixes)}",
    )
    return parser


def add_records(parser: argparse.ArgumentParser) -> None:
    """Add ``--records`` and ``--published``."""
    parser.add_argument("--records", type=Path, required=True, metavar="CSV", help="a study's records.csv")
    parser.add_argument(
        "--published",
        type=Path,
        default=PUBLISHED_FOLDER,
        metavar="FOLDER",
        help="folder of the published values, *.csv (default: published/ next to this script)",
    )


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add ``--runs``, which is optional."""
    parser.add_argument(
        "--runs",
        type=Path,
        metavar="JSON",
        help="the study's runs.json: adds the epochs of pre-training and marks runs that were not healthy",
    )


def add_protocol(parser: argparse.ArgumentParser) -> None:
    """Add ``--protocol``, ``--part`` and ``--metric``, which choose the records to show."""
    parser.add_argument("--protocol", default="linear", help="protocol to show (default: linear)")
    parser.add_argument("--part", default="ALL", help="part of the representation: ALL, IR, EF, ... (default: ALL)")
    parser.add_argument("--metric", default="top1", help="metric to show (default: top1)")


def check_suffixes(outputs: Sequence[Path], suffixes: Sequence[str]) -> None:
    """Raise ``UserError`` for a file type that the script cannot write, before any work is done."""
    for output in outputs:
        if output.suffix not in suffixes:
            raise UserError(f"--output {output}: the suffix must be one of {', '.join(suffixes)}")


def run_script(main: Callable[[Sequence[str] | None], None]) -> None:
    """Run ``main`` on the command line's arguments; a user error becomes one line and exit status 2."""
    try:
        main(None)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
