"""The options of one data set of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from clever.data.registry import SOURCES
from clever.options import Options

if TYPE_CHECKING:
    SourceName = str
else:
    SourceName = Literal[tuple(SOURCES)]

_IMAGE_FILES = ", ".join(name for name, kind in SOURCES.items() if kind.files)


class DataOptions(Options):
    """One named data set of a study: where it comes from and how it is stored."""

    source: SourceName = Field(
        description="Where the images come from. "
        + " ".join(f"``{name}`` {kind.sentence}" for name, kind in SOURCES.items())
    )

    root: str | None = Field(
        default=None,
        description="Folder that holds the source. Every source needs it, except "
        + ", ".join(f"``{name}``" for name, kind in SOURCES.items() if kind.rootless)
        + ".",
    )

    image_size: PositiveInt | None = None
    """Side of the stored square images in pixels: the shorter side is resized to it (bicubic), then the centre is
    cropped. Without it, arrays keep their size (digits: 32; spirographs are always 32). With ``format: encoded``
    nothing is cropped: it limits the shorter side of an image after decoding. Set it (256 to 512) if a few huge
    photographs would pad every batch to their size."""

    format: Literal["pixels", "encoded"] = "pixels"
    """``pixels`` stores decoded squares, the fastest to train from. ``encoded`` keeps the original JPEG or PNG bytes
    and decodes them during training: choose it when the decoded squares do not fit on the disk, or when random crops
    must come from the whole photograph."""

    linked: bool = False
    """With ``format: encoded``: true stores the path and the checksum of each image file instead of a copy of it. The
    source must then not be moved or changed; every file is compared with its checksum when it is read."""

    normalisation: Literal["data", "imagenet"] = "data"
    """Mean and standard deviation for normalisation: measured on this training split, or ImageNet's. Choose
    ``imagenet`` when the backbone is compared with, or initialised from, one trained on ImageNet."""

    train_limit: PositiveInt | None = None
    """Keep at most this many training images, distributed over the classes as evenly as possible. For trial runs.
    ``threediebench`` keeps whole objects of 50 images; ``spirograph`` draws exactly this many images (default 5000; the
    paper: 100000)."""

    test_limit: PositiveInt | None = None
    """Keep at most this many test images, distributed over the classes as evenly as possible. For trial runs.
    ``threediebench`` keeps whole objects; ``spirograph`` draws exactly this many images (default 1000; the paper:
    20000)."""

    subset_seed: int = 0
    """Seed that selects the images that ``train_limit`` and ``test_limit`` keep, or the spirographs that are drawn. A
    larger limit keeps all images that a smaller one keeps."""

    unreadable_limit: NonNegativeInt = 0
    """Number of unreadable images that are skipped (listed in ``store.json``) before preparation fails. Raise it for a
    data set with known damaged files."""

    classes: list[str] | None = None
    """``image_folder`` only: use only these class folders, for example the ImageNet-100 list. Labels follow the sorted
    names, not the order of this list."""

    labelled: bool = True
    """``image_folder`` only: false uses all images below ``train`` (or below ``root``, if it has no ``train``),
    regardless of their folders, to pre-train without labels. Protocols that need labels are rejected."""

    test_labels: str | None = None
    """``image_folder`` only: a text file, relative to ``root``, with an image and its class per line, needed if the
    images of ``val`` are not in class folders (ImageNet's ``LOC_val_solution.csv``). Tiny-ImageNet's file is found
    automatically."""

    download: bool = False
    """Let torchvision download the archive when ``root`` lacks it: ``cifar10``, ``cifar100`` and the data sets that
    torchvision reads, except ``cars``."""

    @model_validator(mode="after")
    def _fits_together(self) -> DataOptions:
        kind = SOURCES[self.source]
        if kind.rootless:
            if self.root is not None:
                raise ValueError(f"source {self.source} {kind.rootless}: leave `root` out")
        elif not self.root:
            raise ValueError(f"source {self.source} needs `root`, the folder that holds it")
        if kind.drawn is not None and self.image_size not in (None, kind.side):
            raise ValueError(
                f"source {self.source} draws images of {kind.side} pixels, not image_size {self.image_size}"
            )
        if kind.files:
            if self.format == "pixels" and self.image_size is None:
                raise ValueError(f"source {self.source} with format pixels needs `image_size`, the side of the squares")
        elif self.format == "encoded":
            raise ValueError(f"format encoded needs source {_IMAGE_FILES}; {self.source} holds decoded pixels")
        if self.linked and self.format != "encoded":
            raise ValueError("`linked` stores the paths of image files: it needs format encoded, not pixels")
        if self.classes is not None and self.source != "image_folder":
            raise ValueError(f"`classes` chooses folders of source image_folder, not of {self.source}")
        for key in ("labelled", "test_labels"):
            if self.source != "image_folder" and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"`{key}` applies to source image_folder only, not to {self.source}")
        if not self.labelled:
            for key in ("classes", "test_labels"):
                if getattr(self, key) is not None:
                    raise ValueError(f"`labelled: false` uses all images without classes: leave `{key}` out")
        if self.classes is not None:
            if not self.classes:
                raise ValueError("`classes` is empty: name at least one class folder, or leave it out")
            twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
            if twice:
                raise ValueError(f"`classes` names {', '.join(twice)} more than once")
        if self.download and not kind.downloads:
            able = ", ".join(name for name, other in SOURCES.items() if other.downloads)
            raise ValueError(f"`download`: source {self.source} is never downloaded; these can be: {able}")
        return self

    def content(self) -> str:
        """Everything that decides the content of a store besides the code of its reader, as canonical text. The path of
        the images is not part of it: moving the folder should not prepare the data and train every run again."""
        definition = SOURCES[self.source].definition
        return self.canonical(exclude={"root", "download"}) + (f" {definition}" if definition else "")
