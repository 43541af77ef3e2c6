"""What belongs to one call rather than to the study: where the data are, and whether anything is measured at all."""

from __future__ import annotations

from collections.abc import Mapping

from clever.errors import UserError
from clever.options import Options, parse

DATA_ROOT = "data"
"""Folder that relative data roots start from where no other is given."""


class Invocation(Options):
    """The settings of one call of Snakemake, ``--config KEY=VALUE``."""

    data_root: str = DATA_ROOT
    """Folder that relative data roots start from."""
    from_measured: bool = False
    """Draw from the records that are committed in paper_figures/measured/<study> instead of measuring: neither data nor
    training. What is drawn goes to results/<study>/measured."""


ADVICE = {
    "data_root": "--config data_root=FOLDER for snakemake, --data-root FOLDER for clever",
    "from_measured": "--config from_measured=true",
}
"""How each setting is given."""


def refuse_settings(content: object, source: str) -> None:
    """Refuse a study that holds a setting of the call: a study says what is measured, on whatever machine.

    Raises:
        UserError: one line with the setting and how to give it.
    """
    for key, advice in ADVICE.items():
        if isinstance(content, Mapping) and key in content:
            raise UserError(f"{source}: {key} belongs on the command line: {advice}; remove it from the study")


def separate(config: Mapping[str, object]) -> tuple[Invocation, dict[str, object]]:
    """Split Snakemake's configuration, in which files and ``--config`` are merged, into settings and study.

    Raises:
        UserError: a setting has a wrong value.
    """
    settings = {key: value for key, value in config.items() if key in ADVICE}
    study = {key: value for key, value in config.items() if key not in ADVICE}
    return parse(Invocation, settings, "--config"), study
