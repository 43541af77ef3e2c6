"""Backbones by name behind one interface: features, last blocks, patch tokens, attention, keys."""

from __future__ import annotations

from clever.backbones.backbone import Backbone, DecayRule, read_description
from clever.backbones.options import BackboneOptions
from clever.backbones.registry import BACKBONES, build_backbone, load_backbone
from clever.backbones.representation import PAPER_RATIO, SPLITS, Split

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
