"""TensorBoard: event files in the run's folder, written by tensorboardX."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

from clever.loggers.logger import LoggedRun

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter


class TensorBoard:
    """Writes every number as a scalar with the epoch as its step."""

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Write the scalars of one epoch to the disk."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def close(self, finished: bool) -> None:
        """Close the file."""
        self._writer.close()


def open_tensorboard(run: LoggedRun) -> TensorBoard:
    """Write to ``<run's folder>/tensorboard/<id>``; the files of an earlier start from step 0 are deleted."""
    from tensorboardX import SummaryWriter

    place = run.folder / "tensorboard"
    target = place / run.id
    if place.is_dir() and not target.exists():
        shutil.rmtree(place)
    # A resumed run writes a second file, which tells TensorBoard to forget these epochs of the first. tensorboardX
    # names files by second and host, so a run that resumes within the same second would overwrite the first file.
    # TensorBoard reads the files in the order of their names.
    earlier = len(list(target.iterdir())) if target.is_dir() else 0
    return TensorBoard(SummaryWriter(str(target), purge_step=run.first_epoch, filename_suffix=f".{earlier:04d}"))
