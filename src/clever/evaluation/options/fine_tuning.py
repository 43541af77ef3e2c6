"""Options of fine-tuning, which protocols ``semi`` and ``transfer`` share."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator, model_validator

from clever.evaluation.options.core_tuning import CoreTuningOptions
from clever.evaluation.options.features import FeatureOptions


def each_once(values: list[object]) -> list[object]:
    """Validate that a list has no value twice, and return it."""
    if len(set(values)) < len(values):
        raise ValueError(f"{values} lists a value twice")
    return values


class FineTuningOptions(FeatureOptions):
    """The training of backbone and classifier. The defaults are the paper's."""

    parts: list[Literal["ALL", "IR", "EF"]] = Field(default=["ALL", "IR"], min_length=1)
    """The parts that the classifier sees; each part is fine-tuned separately. The paper uses ALL and IR."""
    epochs: PositiveInt = 200
    """Passes over the labelled images; use fewer for a quick look."""
    batch_size: PositiveInt = 256
    """Images per step; the learning rates are scaled with it. Lower it if memory runs out."""
    learning_rate: PositiveFloat = 0.001
    """Learning rate of the classifier for a batch of 256; it is multiplied by batch_size / 256."""
    backbone_learning_rate: NonNegativeFloat = 0.001
    """Learning rate of the backbone for a batch of 256; 0 freezes it, which makes this a linear probe on few labels."""
    momentum: NonNegativeFloat = 0.9
    """Momentum of the SGD."""
    weight_decay: NonNegativeFloat = 1e-4
    """Weight decay on all parameters, including normalisations and biases."""
    nesterov: bool = False
    """Nesterov's form of the momentum, as in Core-tuning's recipe; needs a momentum above 0."""
    core_tuning: CoreTuningOptions | None = None
    """Train with Core-tuning's loss instead of the cross-entropy alone: {} for the authors' settings for CIFAR-10. The
    records' protocol then ends with _core_tuning. Their recipe: learning rates 0.01, nesterov, 100 epochs, batch 256 at
    256 px after MoCo v2, whose published top-1 on CIFAR-10 is 97.31 (cross-entropy alone: 94.70)."""
    last_blocks: PositiveInt = 4
    """Number of a transformer's last blocks whose class tokens are used; other backbones use their output vector."""
    best_epoch: bool = True
    """Test after every epoch and record the highest accuracy, which the authors print; false saves this time."""

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0, such as 0.9")
        return self

    _parts_once = field_validator("parts")(each_once)
