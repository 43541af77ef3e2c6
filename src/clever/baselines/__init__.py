"""Baselines: how two views of an image are compared. One file per method, and one for its options;
the registry below lists them.

The losses are our own, in one style, and the tests compare them with lightly's. As a dependency, lightly would bring
PyTorch Lightning and Hydra into every training job, and its losses lack two features: gathering rows from other
processes as ``clever.collectives`` does, and the similarity that the orthogonality term needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clever.baselines.options.barlow_twins import BarlowTwinsOptions
from clever.baselines.options.baseline import BaselineOptions
from clever.baselines.options.byol import ByolOptions
from clever.baselines.options.cacr import CacrOptions
from clever.baselines.options.dcl import DclOptions, DclwOptions
from clever.baselines.options.dino import DinoOptions
from clever.baselines.options.groco import GrocoOptions
from clever.baselines.options.interclr import InterclrOptions
from clever.baselines.options.lejepa import LejepaOptions
from clever.baselines.options.mochi import MochiOptions
from clever.baselines.options.moco_v2 import MocoV2Options
from clever.baselines.options.moco_v3 import MocoV3Options
from clever.baselines.options.mv_dhel import MvDhelOptions
from clever.baselines.options.mv_infonce import MvInfonceOptions
from clever.baselines.options.nnclr import NnclrOptions
from clever.baselines.options.obow import ObowOptions
from clever.baselines.options.simclr import SimclrOptions
from clever.baselines.options.simsiam import SimsiamOptions
from clever.baselines.options.supremix import SupremixOptions
from clever.baselines.options.swav import SwavOptions
from clever.baselines.options.vicreg import VicregOptions
from clever.baselines.options.visreg import VisregOptions
from clever.baselines.options.w_mse import WMseOptions
from clever.implementation import Registered, attribute

if TYPE_CHECKING:
    from clever.baselines.baseline import AnyBaseline, Baseline, Head, HeadOutput
    from clever.baselines.samples import Samples

BASELINES: dict[str, Registered[BaselineOptions, AnyBaseline]] = {
    "dino": Registered(DinoOptions, "clever.baselines.dino:Dino"),
    "simsiam": Registered(SimsiamOptions, "clever.baselines.simsiam:Simsiam"),
    "simclr": Registered(SimclrOptions, "clever.baselines.simclr:Simclr"),
    "dcl": Registered(DclOptions, "clever.baselines.dcl:Dcl"),
    "dclw": Registered(DclwOptions, "clever.baselines.dcl:Dclw"),
    "byol": Registered(ByolOptions, "clever.baselines.byol:Byol"),
    "moco_v3": Registered(MocoV3Options, "clever.baselines.moco_v3:MocoV3"),
    "moco_v2": Registered(MocoV2Options, "clever.baselines.moco_v2:MocoV2"),
    "mochi": Registered(MochiOptions, "clever.baselines.mochi:Mochi"),
    "interclr": Registered(InterclrOptions, "clever.baselines.interclr:Interclr"),
    "obow": Registered(ObowOptions, "clever.baselines.obow:Obow"),
    "barlow_twins": Registered(BarlowTwinsOptions, "clever.baselines.barlow_twins:BarlowTwins"),
    "vicreg": Registered(VicregOptions, "clever.baselines.vicreg:Vicreg"),
    "swav": Registered(SwavOptions, "clever.baselines.swav:Swav"),
    "nnclr": Registered(NnclrOptions, "clever.baselines.nnclr:Nnclr"),
    "mv_infonce": Registered(MvInfonceOptions, "clever.baselines.mv_infonce:MvInfonce"),
    "mv_dhel": Registered(MvDhelOptions, "clever.baselines.mv_dhel:MvDhel"),
    "w_mse": Registered(WMseOptions, "clever.baselines.w_mse:WMse"),
    "cacr": Registered(CacrOptions, "clever.baselines.cacr:Cacr"),
    "groco": Registered(GrocoOptions, "clever.baselines.groco:Groco"),
    "lejepa": Registered(LejepaOptions, "clever.baselines.lejepa:Lejepa"),
    "visreg": Registered(VisregOptions, "clever.baselines.visreg:Visreg"),
    "supremix": Registered(SupremixOptions, "clever.baselines.supremix:Supremix"),
}

_DEFINED_IN = {
    "AnyBaseline": "baseline",
    "Baseline": "baseline",
    "Head": "baseline",
    "HeadOutput": "baseline",
    "Samples": "samples",
}
"""The module of each exported name that needs torch."""


def __getattr__(name: str) -> Any:
    return attribute(__name__, _DEFINED_IN, name)


__all__ = ["BASELINES", "AnyBaseline", "Baseline", "BaselineOptions", "Head", "HeadOutput", "Samples"]
