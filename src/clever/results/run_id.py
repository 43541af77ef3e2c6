"""The id of a run: a readable path made of its five axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import StringConstraints

from clever.errors import UserError

AXIS_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.+-]*"
"""Pattern for the name of a data set, backbone, method or augmentation: it becomes the name of a folder."""

VARIED_PATTERN = AXIS_PATTERN + r"(@[A-Za-z0-9_.]+=[A-Za-z0-9_.+-]+)?"
"""Pattern for a method or augmentation in a run id: its name, then the value of an ablation's axis if it has one."""

UNTRAINED = "untrained"
"""Method axis of a control run, which evaluates the backbone as initialised."""
PIXELS = "pixels"
"""Backbone axis of a control run whose representation is the image itself."""
NO_AUGMENTATION = "none"
"""Augmentation axis of a control run."""

Name = Annotated[str, StringConstraints(pattern=f"^{AXIS_PATTERN}$")]
VariedName = Annotated[str, StringConstraints(pattern=f"^{VARIED_PATTERN}$")]


def varied(name: str, option: str, value: str) -> str:
    """The name of a method or augmentation with one option set: ``dino+clever@separation_ratio=0.5``."""
    return f"{name}@{option}={value}"


def unvaried(name: str) -> str:
    """The name of a method or augmentation without the value of an axis: ``dino+clever``."""
    return name.partition("@")[0]


def setting(name: str) -> tuple[str, str] | None:
    """Option and value that an ablation sets in a method or augmentation; None if it is not varied."""
    option, equals, value = name.partition("@")[2].partition("=")
    return (option, value) if equals else None


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
