"""Options of protocol ``semi``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from clever.evaluation.file_list import read_list
from clever.evaluation.options.fine_tuning import FineTuningOptions, each_once

ListName = Annotated[str, StringConstraints(pattern="^[A-Za-z0-9_.]+$")]
Share = Annotated[float, Field(gt=0.0, le=1.0)]


class SemiOptions(FineTuningOptions):
    """The share of labels, and the fine-tuning on them. The defaults are the paper's."""

    shares: list[Share] = Field(default=[0.01, 0.1])
    """Shares of each class's training images that keep their labels, at least one image per class; each share gives one
    protocol (semi1, semi10). 1 fine-tunes on all labels (semi100). Leave it empty to use only lists."""
    lists: dict[ListName, str] = Field(default={})
    """Text files with the names of the images that keep their labels, one per line, by the name of the protocol:
    {simclr1: 1percent.txt} is semi_simclr1. A relative path is relative to data_root. SimCLR's lists for ImageNet suit
    ImageNet-100 too: images of other classes are skipped. Lists need a data source of image files."""

    @model_validator(mode="after")
    def _something_is_labelled(self) -> Self:
        if not self.shares and not self.lists:
            raise ValueError("shares and lists are both empty; name a share, such as 0.1, or a list of images")
        return self

    def at(self, data_root: str) -> Self:
        """The same block with the paths of the lists joined to ``data_root``."""
        paths = {name: str(Path(data_root) / path) for name, path in self.lists.items()}
        return self.model_copy(update={"lists": paths})

    def require(self) -> None:
        """Check that the lists exist and are text. Raises UserError naming the first one that is not."""
        for path in self.listed_files():
            read_list(Path(path))

    def listed_files(self) -> tuple[str, ...]:
        """The paths of the lists."""
        return tuple(self.lists.values())

    _shares_once = field_validator("shares")(each_once)
