"""Settings of one call rather than of the study: the folder of the data, and whether anything is measured."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from clever.errors import UserError
from clever.options import Options, parse

DATA_ROOT = "data"
"""Default for the folder that relative data roots are relative to."""

GIVE_PARENT = "give its parent with --config data_root=FOLDER (snakemake) or --data-root FOLDER (clever)"
"""Advice for a missing folder of a data set."""


class Invocation(Options):
    """The settings of one call of Snakemake, ``--config KEY=VALUE``."""

    data_root: str = DATA_ROOT
    """Folder that relative data roots are relative to."""
    from_measured: bool = False
    """Draw from the records committed in paper_figures/measured/<study> instead of measuring; this needs neither data
    nor training. Figures and tables are written to results/<study>/measured."""


ADVICE = {
    "data_root": "--config data_root=FOLDER for snakemake, --data-root FOLDER for clever",
    "from_measured": "--config from_measured=true",
}
"""How to give each setting on the command line."""


def refuse_settings(content: object, source: str) -> None:
    """Reject a study that contains a setting of the call, because a study defines what is measured on any machine.

    Raises:
        UserError: one line that names the setting and says how to give it.
    """
    for key, advice in ADVICE.items():
        if isinstance(content, Mapping) and key in content:
            raise UserError(f"{source}: {key} belongs on the command line: {advice}; remove it from the study")


def separate(config: Mapping[str, object]) -> tuple[Invocation, dict[str, object]]:
    """Split Snakemake's configuration, which merges files and ``--config``, into settings and study.

    Raises:
        UserError: a setting has an invalid value.
    """
    settings = {key: value for key, value in config.items() if key in ADVICE}
    study = {key: value for key, value in config.items() if key not in ADVICE}
    return parse(Invocation, settings, "--config"), study


def command(files: Sequence[str | Path], settings: Mapping[str, object]) -> str:
    """The command that runs or draws the study again, for a page that quotes it.

    Args:
        files: the study files; none for the default study. They are named relative to the working folder.
        settings: the settings given with ``--config``. The data folder is shown as FOLDER, because it differs between
            machines.
    """
    words = ["snakemake", "--cores", "all"]
    if files:
        words += ["--configfile", *(os.path.relpath(file) for file in files)]
    if settings:
        words.append("--config")
        for key, value in sorted(settings.items()):
            text = value if isinstance(value, str) else json.dumps(value)
            words.append(f"{key}={'FOLDER' if key == 'data_root' else text}")
    return shlex.join(words)
