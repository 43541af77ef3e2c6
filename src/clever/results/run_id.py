"""The id of a run: its five axes as a readable path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import StringConstraints

from clever.errors import UserError

AXIS_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.+-]*"
"""Pattern for the name of a data set, backbone, method or augmentation: it becomes the name of a folder."""

UNTRAINED = "untrained"
"""The method axis of a control run: the backbone as initialised."""
PIXELS = "pixels"
"""The backbone axis of a control run: the image itself."""
NO_AUGMENTATION = "none"
"""The augmentation axis of a control run."""

Name = Annotated[str, StringConstraints(pattern=f"^{AXIS_PATTERN}$")]


@dataclass(frozen=True)
class RunId:
    """The five axes of a run."""

    data: str
    backbone: str
    method: str
    augmentation: str
    seed: int

    @property
    def run(self) -> str:
        """The run's id, for example ``cifar10/resnet18/dino+clever/caug/seed0``."""
        return f"{self.data}/{self.backbone}/{self.method}/{self.augmentation}/seed{self.seed}"

    @classmethod
    def is_run(cls, text: str) -> bool:
        """Whether a text is a valid run id."""
        try:
            cls.parse(text)
        except UserError:
            return False
        return True

    @classmethod
    def parse(cls, run: str) -> Self:
        """Read a run id. Raises UserError if it is invalid."""
        axes = run.split("/")
        digits = axes[-1].removeprefix("seed")
        if len(axes) != 5 or not all(axes) or digits == axes[-1] or not (digits.isascii() and digits.isdigit()):
            raise UserError(f"{run!r} is not a run id: it must read data/backbone/method/augmentation/seed<number>")
        return cls(axes[0], axes[1], axes[2], axes[3], int(digits))
