"""Combine all loggers of a run into one; none of them can stop the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Self

from clever.loggers.logger import Logger


class Loggers:
    """Passes every epoch on to each logger; a logger that fails is reported once and not called again.

    A context manager that ends the loggers when the block ends.

    Args:
        loggers: the loggers by name.
        warn: reports a problem in one line.
    """

    def __init__(self, loggers: Mapping[str, Logger], warn: Callable[[str], None]) -> None:
        self._loggers = dict(loggers)
        self._warn = warn

    def log(self, epoch: int, values: Mapping[str, object]) -> None:
        """Pass on the numbers among the values of one epoch, counted from 0."""
        numbers = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
        self._each(lambda logger: logger.log(epoch, numbers))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End all loggers; after an exception the run may be resumed."""
        self._each(lambda logger: logger.close(kind is None))

    def _each(self, act: Callable[[Logger], None]) -> None:
        for name, logger in list(self._loggers.items()):
            try:
                act(logger)
            except Exception as error:  # a full disk or a lost connection must not end hours of training
                del self._loggers[name]
                self._warn(f"the logger {name} failed and is switched off ({' '.join(str(error).split())[:200]})")
