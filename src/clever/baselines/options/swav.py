"""Options of SwAV."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from clever.baselines.options.baseline import BaselineOptions


class SwavOptions(BaselineOptions):
    """SwAV's settings; temperature, epsilon and iterations are the authors' (main_swav.py), the other defaults are
    solo-learn's (solo/methods/swav.py), except for the queue, which is off."""

    compares = "scores"
    accepts_local_views = True

    name: Literal["swav"] = "swav"
    hidden_dim: PositiveInt = 2048
    """Width of the projector's hidden layer. Lower it for small backbones."""
    out_dim: PositiveInt = 128
    """Width of the embedding that is compared with the prototypes."""
    prototypes: PositiveInt = 3000
    """Number of prototypes. Lower it for few classes and small batches: use more prototypes than classes, but fewer
    than there are images in a batch and the queue together, otherwise many prototypes get no image."""
    temperature: float = Field(default=0.1, gt=0)
    """Temperature of the student's softmax over prototypes."""
    epsilon: float = Field(default=0.05, gt=0)
    """Softness of the assignments. Lower it when the loss stays at ln(prototypes); raise it when training diverges."""
    sinkhorn_iterations: PositiveInt = 3
    """Iterations of Sinkhorn-Knopp. More iterations spread the images more equally over the prototypes."""
    queue_length: NonNegativeInt = 0
    """Number of earlier embeddings of each global view that take part in the assignment. Use 0 for batches of
    thousands, and 15 batches for a batch of 256 (3840, solo-learn's)."""
    queue_start_epoch: NonNegativeInt = 15
    """Epoch from which the queue is filled; it is used as soon as it is full. Before that epoch, embeddings age too
    fast."""
    freeze_prototypes_epochs: NonNegativeInt = 1
    """Number of epochs at the start in which the prototypes are frozen. solo-learn uses 2 on CIFAR-10 and
    ImageNet-100."""
