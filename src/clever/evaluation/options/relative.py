"""Options of protocols ``relative_rotation`` and ``relative_colour``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from clever.evaluation.options.features import FeatureOptions


class RelativeOptions(FeatureOptions):
    """Training and test of the head. The defaults are SIE's."""

    perturbations: list[str] = Field(default=["orig"], min_length=1)
    """The perturbations to report; orig means the stored images. The head is trained on unperturbed training images."""
    head: Literal["mlp", "linear"] = "mlp"
    """mlp: two hidden layers. linear: no hidden layer, which shows what a linear map can predict."""
    hidden_dim: PositiveInt = 1024
    """Width of the two hidden layers of the mlp."""
    epochs: PositiveInt = 300
    """Passes over the training objects; use fewer for a quick look."""
    learning_rate: PositiveFloat = 1e-3
    """Constant learning rate of Adam."""
    batch_size: PositiveInt = 256
    """Pairs per step of the head."""
    pairs_an_object: PositiveInt = 1
    """Pairs per training object and epoch, redrawn in each epoch; use more if there are few objects."""
    test_pairs_an_object: PositiveInt = 1
    """Random pairs per test object; use more if there are few objects, for less noise."""
