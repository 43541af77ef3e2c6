"""Start-up times of commands that a user waits for, relative to importing PyTorch in a fresh interpreter.

None of these commands loads PyTorch: checking a study, listing the methods, completing a command line.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from rounds import alternate, median_ratio, parse, parser, report, row

ROOT = Path(__file__).resolve().parents[1]
LARGEST = ROOT / "workflow" / "studies" / "matrix_cpu.yaml"
"""The committed study with the most runs."""
IMPORT = "import torch"
COMMANDS = {
    f"clever check {LARGEST.name}": ["check", str(LARGEST)],
    "clever methods": ["methods"],
    "clever completion bash": ["completion", "bash"],
}


def started(*arguments: str) -> Callable[[], object]:
    """Start a fresh interpreter with these arguments, and wait for it."""
    return lambda: subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    arguments = parse(parser(__doc__))
    work = {IMPORT: started("-c", IMPORT)}
    work |= {name: started("-m", "clever.cli", *command) for name, command in COMMANDS.items()}
    seconds = alternate(work, arguments.rounds, torch.device("cpu"))
    ratios = {f"{name} over {IMPORT}": median_ratio(seconds[name], seconds[IMPORT]) for name in COMMANDS}
    report(arguments, [row(what, ratio, "x", "wall-clock time", 1.0, most=True) for what, ratio in ratios.items()])


if __name__ == "__main__":
    main()
