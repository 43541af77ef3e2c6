"""Options of SimSiam."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from clever.baselines.options.baseline import BaselineOptions


class SimsiamOptions(BaselineOptions):
    """SimSiam's settings; the defaults are the paper's and DDCL's (authors' DRL_builder.py:31-57)."""

    compares = "predictions"
    views_apart = True

    name: Literal["simsiam"] = "simsiam"
    hidden_dim: PositiveInt = 2048
    """Width of the projector's two hidden layers: the width of a ResNet-50's representation. Lower it for small
    backbones."""
    out_dim: PositiveInt = 2048
    """Width of the projection and the prediction."""
    predictor_dim: PositiveInt = 512
    """Width of the predictor's hidden layer, a bottleneck. Keep it at a quarter of ``out_dim``."""
    constant_predictor_rate: bool = True
    """Keep the predictor's learning rate at its peak while the other layers' decays (--fix-pred-lr), as the paper and
    DDCL do."""
