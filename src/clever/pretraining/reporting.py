"""What a run says while it trains, on standard error."""

from __future__ import annotations

import sys
from typing import NoReturn

from tqdm import tqdm

from clever.collectives import is_main_process
from clever.errors import one_line
from clever.results.run_description import HEALTHY


class ProgressReport:
    """A bar on a terminal, one line an epoch elsewhere; nothing from any process but the first."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.on_terminal = sys.stderr.isatty() and is_main_process()

    def line(self, text: str) -> None:
        """One line about the run."""
        if is_main_process():
            tqdm.write(one_line(f"{self.run}: {text}"), file=sys.stderr)

    def bar(self, total: int, done: int) -> tqdm[NoReturn]:
        """A bar of ``total`` steps, ``done`` of them behind it; without a terminal it shows nothing."""
        return tqdm(total=total, initial=done, unit="step", desc=self.run, disable=not self.on_terminal)

    def epoch(self, epoch: int, epochs: int, row: dict[str, float], health: str, seconds_left: float) -> None:
        """The metrics of an epoch, counted from 0, and its health; a trouble is shown on a terminal too."""
        where = f"epoch {epoch + 1}/{epochs}"
        if health != HEALTHY:
            self.line(f"{where}: WARNING, {health}")
        if not self.on_terminal:
            terms = ", ".join(f"{k.removeprefix('loss_')} {v:.4f}" for k, v in row.items() if k.startswith("loss"))
            left = f"{seconds_left / 60:.1f} min left"
            self.line(f"{where}: {terms}; {row['images_per_second']:.0f} images/s, {left}")
