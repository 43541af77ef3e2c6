"""Options of protocol ``corruption``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from clever.errors import UserError
from clever.evaluation.imagenet_c import CORRUPTIONS, SMALLEST, check, require_corrupted
from clever.evaluation.options.features import ExtractionOptions


class CorruptionOptions(ExtractionOptions):
    """The corruptions, their severities, and the classifier."""

    corruptions: list[str] = Field(default=list(CORRUPTIONS), min_length=1)
    """Names of the corruptions, as in ImageNet-C; use fewer for a quick look."""
    severities: list[Literal[1, 2, 3, 4, 5]] = Field(default=[1, 2, 3, 4, 5], min_length=1)
    """Severities from 1 to 5; the relative accuracy is a mean over them."""
    root: str | None = None
    """Folder of CIFAR-10-C or CIFAR-100-C (<corruption>.npy, labels.npy) or of ImageNet-C
    (<corruption>/<severity>/<class>/*.JPEG), relative to data_root, to test on its images. Omit it to corrupt the test
    images of the run's data."""
    penalty: PositiveFloat = 1.0
    """L2 penalty of the classifier, added to the sum of the cross-entropy over the training images."""
    max_iterations: PositiveInt = 1000
    """Largest number of iterations of the classifier's L-BFGS."""
    last_blocks: PositiveInt = 1
    """Number of a transformer's last blocks whose class tokens are used; other backbones use their output vector."""

    def at(self, data_root: str) -> Self:
        """The same block with ``root``, if there is one, joined to ``data_root``."""
        return self if self.root is None else self.model_copy(update={"root": str(Path(data_root) / self.root)})

    def require(self) -> None:
        """Check that the folder has the corruptions and severities. Raises UserError naming the first missing one."""
        if self.root is not None:
            require_corrupted(Path(self.root), self.corruptions, self.severities)

    @field_validator("corruptions")
    @classmethod
    def _known_once(cls, names: list[str]) -> list[str]:
        for name in names:
            try:
                check(name, 1, SMALLEST)
            except UserError as error:
                raise ValueError(str(error)) from error
            if names.count(name) > 1:
                raise ValueError(f"the corruption {name!r} is listed twice")
        return names

    @model_validator(mode="after")
    def _images_are_large_enough(self) -> Self:
        if self.root is not None and self.averaging is not None:
            raise ValueError("averaging is not possible on the images of root; omit one of them")
        if self.root is None and self.image_size is not None and self.image_size < SMALLEST:
            raise ValueError(f"image_size {self.image_size} is too small to corrupt: at least {SMALLEST} px are needed")
        return self
