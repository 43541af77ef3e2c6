"""The number of parameters of a study's backbones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clever.results.run_id import PIXELS


def parameters_to_compare(runs: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The number of parameters of every backbone if there are several; otherwise empty, and nothing is built."""
    named = {(run.get("recipe") or {}).get("backbone_name") for run in runs}
    return count_parameters(runs) if len(named - {None, PIXELS}) > 1 else {}


def count_parameters(runs: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The number of parameters of every backbone of the runs, by building it from its recipe.

    Runs whose recipe names no backbone are left out. Raises ``UserError`` where a recipe cannot be built.
    """
    from clever.backbones import BackboneOptions, build_backbone  # timm takes seconds to import
    from clever.options import parse

    counts: dict[str, int] = {}
    for run in runs:
        recipe = run.get("recipe") or {}
        name, options = recipe.get("backbone_name"), recipe.get("backbone")
        if not name or not options or name == PIXELS or name in counts:
            continue
        backbone = build_backbone(parse(BackboneOptions, options, f"{run['run']}: recipe.backbone"), seed=0)
        counts[str(name)] = int(np.sum([parameter.numel() for parameter in backbone.parameters()]))
    return counts
