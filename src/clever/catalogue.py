"""The available choices, read from the registries.

``python -m clever.catalogue`` writes them to ``catalogue.json`` in the package, which ``clever methods`` prints without
importing torch. A test keeps the file in step with the registries.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import get_args

from clever.augmentation import PERTURBATIONS, VIEW_MAKERS
from clever.backbones import BACKBONES
from clever.baselines import BASELINES
from clever.data import SOURCES
from clever.equivariance import EQUIVARIANCES
from clever.evaluation import PROTOCOLS


def catalogue() -> dict[str, list[str]]:
    """The names of everything that a study can choose, by kind."""
    return {
        "baselines": list(BASELINES),
        "equivariances": list(EQUIVARIANCES),
        "backbones": list(BACKBONES),
        "augmentations": [name for kind in VIEW_MAKERS for name in get_args(kind.model_fields["name"].annotation)],
        "perturbations": list(PERTURBATIONS),
        "protocols": list(PROTOCOLS),
        "sources": list(SOURCES),
    }


def catalogue_text() -> str:
    """The content of ``catalogue.json``."""
    return json.dumps(catalogue(), indent=2) + "\n"


if __name__ == "__main__":
    from pathlib import Path

    from clever.files import write_text

    write_text(Path(str(files("clever") / "catalogue.json")), catalogue_text())
