"""Options of protocol ``detection``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from clever.errors import UserError
from clever.evaluation.options.external import ExternalOptions


class DetectionOptions(ExternalOptions):
    """The images, and the training of the detector. The defaults are torchvision's reference schedule for COCO."""

    train_annotations: str = "annotations/instances_train2017.json"
    """File of training annotations, relative to root."""
    train_images: str = "train2017"
    """Folder of their images, below root."""
    test_annotations: str = "annotations/instances_val2017.json"
    """File of test annotations, relative to root."""
    test_images: str = "val2017"
    """Folder of their images, below root."""
    frozen: bool = False
    """Whether the backbone keeps its weights; only the pyramid and the heads are trained then."""
    epochs: PositiveInt = 26
    """Passes over the training images."""
    batch_size: PositiveInt = 16
    """Images per step; the learning rate is scaled with it."""
    learning_rate: PositiveFloat = 0.02
    """Learning rate for a batch of 16; it is multiplied by batch_size / 16."""
    momentum: NonNegativeFloat = 0.9
    """Momentum of the SGD."""
    weight_decay: NonNegativeFloat = 1e-4
    """Weight decay on all trained weights."""
    milestones: list[PositiveInt] = Field(default=[16, 22])
    """Epochs after which the learning rate falls to a tenth."""
    warmup_steps: PositiveInt = 1000
    """Number of steps in the first epoch over which the learning rate rises from a thousandth of its value."""
    short_sides: list[PositiveInt] = Field(default=[800], min_length=1)
    """A training image's shorter side is resized to one of these, at test time to the last; 640 to 800 for COCO's
    multi-scale training, small ones for CPU studies."""
    longest_side: PositiveInt = 1333
    """Upper limit of the longer side."""

    def require(self) -> None:
        for file in (self.train_annotations, self.test_annotations):
            if not (Path(self.root) / file).is_file():
                raise UserError(f"{Path(self.root) / file}: missing; give annotations in COCO's format")
        for folder in (self.train_images, self.test_images):
            if not (Path(self.root) / folder).is_dir():
                raise UserError(f"{Path(self.root) / folder}: no such folder; give the folder of the images")
