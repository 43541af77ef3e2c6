"""Baselines: how two views of an image are compared. One file per method; the registry below lists them.

The losses are our own, in one style, and the tests compare them with lightly's. As a dependency, lightly would bring
PyTorch Lightning and Hydra into every training job, and its losses neither gather the rows of other processes as
``clever.collectives`` does nor provide the similarity that the orthogonality term needs.
"""

from __future__ import annotations

from clever.baselines.barlow_twins import BarlowTwins, BarlowTwinsOptions
from clever.baselines.baseline import AnyBaseline, Baseline, BaselineOptions, Head, HeadOutput
from clever.baselines.byol import Byol, ByolOptions
from clever.baselines.cacr import Cacr, CacrOptions
from clever.baselines.dcl import Dcl, DclOptions, Dclw, DclwOptions
from clever.baselines.dino import Dino, DinoOptions
from clever.baselines.groco import Groco, GrocoOptions
from clever.baselines.interclr import Interclr, InterclrOptions
from clever.baselines.lejepa import Lejepa, LejepaOptions
from clever.baselines.mochi import Mochi, MochiOptions
from clever.baselines.moco_v2 import MocoV2, MocoV2Options
from clever.baselines.moco_v3 import MocoV3, MocoV3Options
from clever.baselines.mv_dhel import MvDhel, MvDhelOptions
from clever.baselines.mv_infonce import MvInfonce, MvInfonceOptions
from clever.baselines.nnclr import Nnclr, NnclrOptions
from clever.baselines.obow import Obow, ObowOptions
from clever.baselines.samples import Samples
from clever.baselines.simclr import Simclr, SimclrOptions
from clever.baselines.simsiam import Simsiam, SimsiamOptions
from clever.baselines.supremix import Supremix, SupremixOptions
from clever.baselines.swav import Swav, SwavOptions
from clever.baselines.vicreg import Vicreg, VicregOptions
from clever.baselines.visreg import Visreg, VisregOptions
from clever.baselines.w_mse import WMse, WMseOptions

BASELINES: dict[str, tuple[type[AnyBaseline], type[BaselineOptions]]] = {
    "dino": (Dino, DinoOptions),
    "simsiam": (Simsiam, SimsiamOptions),
    "simclr": (Simclr, SimclrOptions),
    "dcl": (Dcl, DclOptions),
    "dclw": (Dclw, DclwOptions),
    "byol": (Byol, ByolOptions),
    "moco_v3": (MocoV3, MocoV3Options),
    "moco_v2": (MocoV2, MocoV2Options),
    "mochi": (Mochi, MochiOptions),
    "interclr": (Interclr, InterclrOptions),
    "obow": (Obow, ObowOptions),
    "barlow_twins": (BarlowTwins, BarlowTwinsOptions),
    "vicreg": (Vicreg, VicregOptions),
    "swav": (Swav, SwavOptions),
    "nnclr": (Nnclr, NnclrOptions),
    "mv_infonce": (MvInfonce, MvInfonceOptions),
    "mv_dhel": (MvDhel, MvDhelOptions),
    "w_mse": (WMse, WMseOptions),
    "cacr": (Cacr, CacrOptions),
    "groco": (Groco, GrocoOptions),
    "lejepa": (Lejepa, LejepaOptions),
    "visreg": (Visreg, VisregOptions),
    "supremix": (Supremix, SupremixOptions),
}

__all__ = ["BASELINES", "AnyBaseline", "Baseline", "BaselineOptions", "Head", "HeadOutput", "Samples"]
