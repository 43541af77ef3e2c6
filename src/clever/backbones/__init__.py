"""Backbones by name behind one interface: features, last blocks, patch tokens, attention, keys.

Options are imported immediately. Everything that needs torch or timm, whose imports take seconds, is imported on first
use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clever.backbones.options import BackboneOptions
from clever.backbones.representation import PAPER_RATIO, SPLITS, Split
from clever.implementation import attribute

if TYPE_CHECKING:
    from clever.backbones.backbone import Backbone, DecayRule, read_description
    from clever.backbones.registry import BACKBONES, build_backbone, load_backbone

_DEFINED_IN = {
    "BACKBONES": "registry",
    "Backbone": "backbone",
    "DecayRule": "backbone",
    "build_backbone": "registry",
    "load_backbone": "registry",
    "read_description": "backbone",
}
"""The module of each exported name that needs torch."""

__all__ = [
    "BACKBONES",
    "PAPER_RATIO",
    "SPLITS",
    "Backbone",
    "BackboneOptions",
    "DecayRule",
    "Split",
    "build_backbone",
    "load_backbone",
    "read_description",
]


def __getattr__(name: str) -> Any:
    return attribute(__name__, _DEFINED_IN, name)
