"""Multilayer perceptrons with BatchNorm, the building blocks of nearly all projectors and predictors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from clever.baselines.baseline import Head, HeadOutput

FinalNorm = Literal["none", "affine", "plain"]
"""The BatchNorm after the last layer: none, one with a learned scale and shift, or one without."""


def make_mlp(
    widths: Sequence[int], *, final_norm: FinalNorm = "none", final_bias: bool = True, hidden_norm: bool = True
) -> nn.Sequential:
    """Linear-BatchNorm-ReLU blocks and a last linear layer.

    A linear layer before a BatchNorm has no bias, because the BatchNorm would cancel it. If a published network has
    such a bias, ours computes the same function without it.

    Args:
        widths: at least two; ``[512, 2048, 128]`` means one hidden layer of width 2048.
        final_norm: BatchNorm after the last layer.
        final_bias: whether the last layer has a bias, if no BatchNorm follows it.
        hidden_norm: whether a BatchNorm precedes each ReLU.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths[:-1]):
        layers.append(nn.Linear(inputs, outputs, bias=not hidden_norm))
        if hidden_norm:
            layers.append(nn.BatchNorm1d(outputs))
        layers.append(nn.ReLU(inplace=True))
    layers.append(nn.Linear(widths[-2], widths[-1], bias=final_bias and final_norm == "none"))
    if final_norm != "none":
        layers.append(nn.BatchNorm1d(widths[-1], affine=final_norm == "affine"))
    return nn.Sequential(*layers)


def last_layer_parameters(mlp: nn.Sequential) -> list[nn.Parameter]:
    """The parameters of an MLP's last linear layer and of the layers after it."""
    last = max(place for place, layer in enumerate(mlp) if isinstance(layer, nn.Linear))
    return [parameter for layer in mlp[last:] for parameter in layer.parameters()]


class ProjectionHead(Head):
    """A projector alone."""

    def __init__(self, projector: nn.Sequential) -> None:
        super().__init__()
        self.projector = projector

    def forward(self, features: Tensor) -> HeadOutput:
        """Features [M, width] to a projection [M, K]."""
        return HeadOutput(self.projector(features))

    def last_layer_parameters(self) -> list[nn.Parameter]:
        """The parameters of the layer that computes the projection."""
        return last_layer_parameters(self.projector)


class PredictionHead(Head):
    """A projector, followed by a predictor that predicts another view's projection."""

    def __init__(self, projector: nn.Sequential, predictor: nn.Sequential) -> None:
        super().__init__()
        self.projector = projector
        self.predictor = predictor

    def forward(self, features: Tensor) -> HeadOutput:
        """Features [M, width] to a projection and a prediction, both [M, K]."""
        projection = self.projector(features)
        return HeadOutput(projection, self.predictor(projection))

    def projection_parameters(self) -> list[nn.Parameter]:
        return list(self.projector.parameters())

    def prediction_parameters(self) -> list[nn.Parameter]:
        return list(self.predictor.parameters())

    def last_layer_parameters(self) -> list[nn.Parameter]:
        """The parameters of the two layers that compute projection and prediction."""
        return [*last_layer_parameters(self.projector), *last_layer_parameters(self.predictor)]
