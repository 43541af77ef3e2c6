"""Check what the protocols of a study need on this machine: packages, and their own data sets."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from clever.config import Study
from clever.doctor.finding import Finding
from clever.errors import UserError
from clever.evaluation import PROTOCOLS
from clever.evaluation.options.external import ExternalOptions
from clever.evaluation.options.protocol import ProtocolOptions
from clever.invocation import DATA_ROOT


def check_evaluations(study: Study, data_root: str = DATA_ROOT) -> Iterator[Finding]:
    """One finding per protocol that needs a package of the extra ``evaluation`` or its own data set on disk."""
    for name, options in study.evaluation_options(data_root).items():
        packages = PROTOCOLS[name.partition("+")[0]].packages
        absent = [package for package in packages if importlib.util.find_spec(package) is None]
        if absent:
            yield Finding(
                f"evaluation {name}", "FAIL", f"needs {', '.join(absent)}; pip install 'clever-ssl[evaluation]'"
            )
        elif isinstance(options, ExternalOptions):
            try:
                options.check_folder()
            except UserError as error:
                yield Finding(f"evaluation {name}", "FAIL", str(error))
            else:
                yield Finding(f"evaluation {name}", "ok", f"found its data in {options.root}")
        elif (line := _lacking(options)) is not None:
            yield Finding(f"evaluation {name}", "FAIL", line)
        elif packages:
            yield Finding(f"evaluation {name}", "ok", f"{', '.join(packages)} installed")


def _lacking(options: ProtocolOptions) -> str | None:
    """What is missing from the files and folders that a protocol's options name, or None."""
    try:
        options.check_folder()
    except UserError as error:
        return str(error)
    return None
