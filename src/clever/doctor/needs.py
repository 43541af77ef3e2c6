"""The disk space and memory that a run needs, computed from its networks without a device."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clever.augmentation import parameter_space
from clever.backbones import Backbone, BackboneOptions, build_backbone
from clever.backbones.describe import saved_bytes
from clever.equivariance import Objective
from clever.pretraining.composition import build_objective
from clever.pretraining.network import Network
from clever.pretraining.recipe import RunRecipe

MOMENTS = {"adamw": 2, "sgd": 1, "lars": 1}
"""Number of moments that an optimiser keeps for each trained parameter."""


@dataclass(frozen=True)
class Need:
    """Bytes that one run needs.

    ``backbone`` is the file that stays on the disk; ``state`` is one saved training state; ``fixed`` is the memory that
    does not depend on the batch size: weights, gradients, moments and teacher.
    """

    backbone: int
    state: int
    fixed: int


def run_need(recipe: RunRecipe, training_images: int | None = None) -> Need:
    """The need of one run; for a control, only that of its backbone.

    Args:
        recipe: recipe of the run.
        training_images: size of the training split. Baselines that keep state for every image have that many rows; None
            leaves those rows out.

    Raises:
        UserError: the backbone cannot be built with its options.
    """
    backbone = _on_no_device(recipe.backbone)
    stored = _bytes(backbone.state_dict().values())
    if recipe.method is None or recipe.augmentation is None or recipe.optimisation is None:
        return Need(stored, 0, stored)
    student, objective = _compose(recipe, training_images)
    averaged = (student.backbone, student.heads) if objective.has_momentum_teacher else ()
    teacher = sum(_bytes(module.state_dict().values()) for module in averaged)
    trained = _bytes(parameter for parameter in student.parameters() if parameter.requires_grad)
    moments = MOMENTS[recipe.optimisation.optimiser] * trained
    weights = _bytes(student.state_dict().values()) + _bytes(objective.state_dict().values()) + teacher
    return Need(stored, weights + moments, weights + moments + trained)


def activation_bytes(recipe: RunRecipe) -> int | None:
    """Estimate roughly how many bytes of activations one step keeps.

    Counts the student's views in backbone and heads, or only in the backbone if the heads cannot run without a device
    (such as those of swav). Does not count the add-on's extra views, losses, workspaces and allocator slack. None if
    the backbone cannot run without a device either; 0 for a control.
    """
    views, options = recipe.augmentation, recipe.optimisation
    if views is None or options is None:
        return 0
    student, _ = _compose(recipe)
    local_size = getattr(views, "local_size", views.global_size)
    an_image = None
    for network in (student, student.backbone):
        with suppress(NotImplementedError, RuntimeError):
            an_image = saved_bytes(_Views(network, local_size, views.local_views), views.global_size)
            break
    if an_image is None:
        return None
    images = options.batch_size // options.accumulate
    # Autocast halves the bytes of the inputs of matrix products; norms and losses stay in fp32.
    return an_image * images // (2 if options.precision == "bf16" else 1)


def _compose(recipe: RunRecipe, training_images: int | None = None) -> tuple[Network, Objective]:
    """Student and objective as ``pretraining.composition`` builds them, but without a device."""
    assert recipe.augmentation is not None
    assert recipe.method is not None
    backbone, space = _on_no_device(recipe.backbone), parameter_space(recipe.augmentation)
    with torch.device("meta"):
        objective = build_objective(recipe.method, backbone.feature_dim, space)
        objective.prepare(training_images, backbone.feature_map_widths)
        layers = objective.add_on.make_layers(backbone.feature_map_widths)
        return Network(backbone, objective.make_heads(), objective.parts, False, layers), objective


@functools.cache
def _on_no_device(options: BackboneOptions) -> Backbone:
    try:
        with torch.device("meta"):
            return build_backbone(options, seed=None)
    except NotImplementedError:  # the constructor computes with values, as VMamba's does
        return build_backbone(options, seed=0).to("meta")


class _Views(nn.Module):
    """Wraps a network or backbone: makes views of the run's sizes from whole images."""

    def __init__(self, network: Network | Backbone, local_size: int, local_views: int) -> None:
        super().__init__()
        self.network, self.local_size, self.local_views = network, local_size, local_views

    def forward(self, images: Tensor) -> None:
        views = [images, images, *[images[:, :, : self.local_size, : self.local_size]] * self.local_views]
        if isinstance(self.network, Network):
            self.network(views)
        else:
            self.network(torch.cat(views[:2]))
            if self.local_views:
                self.network(torch.cat(views[2:]))


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
