"""Messages of a training run. Nothing here computes or changes a result.

This file does not count as training code: a message can be reworded without marking runs that are resumed, or their
results, as trained by different code.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from clever.collectives import is_main_process
from clever.errors import one_line
from clever.results.run_description import HEALTHY


class RunReport:
    """Writes to stderr: a progress bar on a terminal, one line per epoch elsewhere. Only the first of several processes
    writes.

    Args:
        run: the run's id, which starts every line.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self.on_terminal = sys.stderr.isatty() and is_main_process()

    def starts(self, epochs: int, steps: int, images: str, device: object) -> None:
        """Report the amount of work; ``images`` says where the images are kept, and why."""
        self._line(f"{epochs} epochs of {steps} steps; images on {images}; {device}")

    def initial_weights(self, loaded: object) -> None:
        """Report what was loaded into the backbone before training."""
        self._line(f"initial weights: {loaded}")

    def resumes(self, iteration: int, total: int) -> None:
        """Report that a state of this step was found."""
        self._line(f"resumes at step {iteration} of {total}")

    def code_changed(self, change: str) -> None:
        """Report that the state was trained by other code, or executed differently."""
        self._line(f"{change}: the result may differ, and run.json will list both")

    def no_intact_state(self, folder: Path) -> None:
        """Report that all states found are damaged."""
        self._line(f"no state in {folder} is intact; starts again at step 0")

    def metrics_restored(self, path: Path) -> None:
        """Report that the metrics file differs from the training state."""
        self._line(f"WARNING, {path}: was changed or damaged; it is restored from the training state")

    def state_kept(self, reason: str) -> None:
        """Report that the state is kept after the run, because the run may be started again."""
        self._line(f"{reason}; the state is kept until an evaluation has read the run")

    def bf16_on_cpu(self) -> None:
        """Warn that the precision does not suit the device."""
        self._line("WARNING: bf16 on a CPU is slow, and some of its convolutions are wrong on 1x1 maps; use fp32")

    def warning(self, text: object) -> None:
        """Report a warning."""
        self._line(f"WARNING, {text}")

    def skipped(self, fault: str) -> None:
        """Report a step that was not finite."""
        self._line(f"{fault}; the step is skipped")

    def bar(self, total: int, done: int) -> tqdm[NoReturn]:
        """The progress bar, hidden if stderr is not a terminal."""
        return tqdm(total=total, initial=done, unit="step", desc=self.run, disable=not self.on_terminal)

    @staticmethod
    def progress(bar: tqdm[NoReturn], iteration: int, means: Mapping[str, float], rate: float) -> None:
        """Move the bar to ``iteration``; ``rate`` in images/s."""
        bar.update(iteration - bar.n)
        bar.set_postfix_str(f"loss {means.get('loss', math.nan):.4f}, {rate:.0f} images/s")

    def epoch(self, epoch: int, epochs: int, row: Mapping[str, float], health: str, seconds_left: float) -> None:
        """Report the end of an epoch, counted from 0, with its metrics."""
        where = f"epoch {epoch + 1}/{epochs}"
        if health != HEALTHY:
            self._line(f"{where}: WARNING, {health}")
        if not self.on_terminal:
            terms = ", ".join(f"{k.removeprefix('loss_')} {v:.4f}" for k, v in row.items() if k.startswith("loss"))
            probed = [f"{name.replace('_', ' ')} {row[name]:.1f}" for name in row if name.startswith("online_")]
            terms = "; ".join([terms, ", ".join(probed)]) if probed else terms
            left = f"{seconds_left / 60:.1f} min left"
            self._line(f"{where}: {terms}; {row['images_per_second']:.0f} images/s, {left}")

    def _line(self, text: str) -> None:
        if is_main_process():
            tqdm.write(one_line(f"{self.run}: {text}"), file=sys.stderr)
