"""Baselines: how two views of an image are compared. One file a method; the registry below is all there is to it."""

from __future__ import annotations

from clever.baselines.baseline import Baseline, BaselineOptions, HeadOutput
from clever.baselines.dino import Dino, DinoOptions

BASELINES: dict[str, tuple[type[Baseline], type[BaselineOptions]]] = {
    "dino": (Dino, DinoOptions),
}

__all__ = ["BASELINES", "Baseline", "BaselineOptions", "HeadOutput"]
