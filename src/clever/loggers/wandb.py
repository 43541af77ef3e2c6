"""Weights & Biases, online or (WANDB_MODE=offline) as files in the run's folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from clever.loggers.logger import LoggedRun

PROJECT = "clever"
"""Name of the project, unless WANDB_PROJECT sets another one."""


class WeightsAndBiases:
    """Sends every number with the epoch as its step."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Send the numbers of one epoch; a step that the service already has is not changed."""
        self._run.log(dict(values), step=epoch)

    def close(self, finished: bool) -> None:
        """End; an interrupted run is marked as failed until it is resumed."""
        self._run.finish(exit_code=0 if finished else 1)


def open_wandb(run: LoggedRun) -> WeightsAndBiases:
    """Start or resume the run with this id. wandb's own variables decide the server, the user and whether it works
    online."""
    import wandb

    return WeightsAndBiases(
        wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=run.id,
            name=run.name,
            config=dict(run.recipe),
            dir=str(run.folder),
            resume="allow",
        )
    )
