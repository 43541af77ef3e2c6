"""The interface of a logger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class LoggedRun:
    """What a logger receives about a run when it is opened."""

    id: str
    """Letters and digits. A resumed run keeps the id that it started with; a run that starts from scratch gets a new
    id."""
    name: str
    """The run's id in the study, ``cifar10/resnet18/dino+clever/caug/seed0``."""
    folder: Path
    """The run's folder, for loggers that write files."""
    recipe: Mapping[str, Any]
    """The run's recipe, as plain JSON."""
    first_epoch: int
    """The epoch that is logged next, counted from 0; epochs from here on that were logged before are replaced."""
    warn: Callable[[str], None]
    """Reports a problem in one line."""


class Logger(Protocol):
    """Receives each line of metrics.csv."""

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Copy the numbers of one epoch, counted from 0."""

    def close(self, finished: bool) -> None:
        """End; ``finished`` is False if the run was interrupted or failed, and may be resumed."""
