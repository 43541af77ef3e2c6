"""Optional loggers: copies of metrics.csv for dashboards. Nothing here changes a run, and metrics.csv stays the
authoritative copy.

A logger is a file in this folder, one line in ``LOGGERS`` and an extra of the same name in pyproject.toml.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

from clever.errors import UserError
from clever.loggers.logger import LoggedRun, Logger
from clever.loggers.tensorboard import open_tensorboard
from clever.loggers.together import Loggers
from clever.loggers.wandb import open_wandb
from clever.options import nearest

LOGGERS: dict[str, tuple[Callable[[LoggedRun], Logger], str]] = {
    "tensorboard": (open_tensorboard, "tensorboardX"),
    "wandb": (open_wandb, "wandb"),
}
"""Every logger, with the function that opens it and the package that it needs."""

__all__ = ["LOGGERS", "LoggedRun", "Logger", "Loggers", "open_loggers", "require_loggers"]


def require_loggers(names: Sequence[str], source: str) -> None:
    """Check, before anything is computed, that loggers exist and their packages are installed.

    Args:
        names: names of the loggers.
        source: the place where they were named, for the message.

    Raises:
        UserError: one line that names the logger, its package, and how to install the package.
    """
    for name in names:
        if name not in LOGGERS:
            raise UserError(f"{source}: there is no logger {name!r}{nearest(name, LOGGERS)}")
        package = LOGGERS[name][1]
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"{source}: {name} needs the package {package}, which is not installed: pip install '.[{name}]'; or "
                "train without it, metrics.csv has the same numbers"
            )


def open_loggers(names: Sequence[str], run: LoggedRun) -> Loggers:
    """Start these loggers for a run; the list may be empty.

    Raises:
        UserError: a logger is unknown, lacks its package or could not start.
    """
    require_loggers(names, run.name)
    opened: dict[str, Logger] = {}
    for name in dict.fromkeys(names):
        try:
            opened[name] = LOGGERS[name][0](run)
        except Exception as error:  # packages raise their own types of error, for example about a login
            for other in opened.values():
                other.close(finished=False)
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{run.name}: the logger {name} could not start ({reason[:200]})") from error
    return Loggers(opened, run.warn)
