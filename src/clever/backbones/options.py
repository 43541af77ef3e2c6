"""The options that define a backbone in a study."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt

from clever.options import Options

OWN_NAMES = ("resnet18", "resnet50", "vit_tiny", "vit_small", "vmamba_tiny", "resnet10t_half", "vit_micro", "pixels")
"""The keys of ``BACKBONES``, available without loading timm, which takes seconds; a test compares them."""

WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".tar", ".ckpt")
"""Suffixes of weight files."""


class BackboneOptions(Options):
    """The network to train, and the image size it is built for."""

    name: str
    """A key of ``BACKBONES`` (the paper's five, the demonstration networks, ``pixels``) or any other timm model name.
    Change it to compare architectures."""

    image_size: PositiveInt
    """Side in pixels of the global crops. It determines the ResNet stem and the ViT patch, so keep the value of the
    pre-training when loading a saved backbone; the backbone still accepts images of other sizes."""

    drop_path: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Stochastic depth rate of the last block; it grows linearly from 0 at the first. The paper's student uses 0.1 for
    ViT, 0.2 for VMamba (whose teacher the authors leave at 0.2 too) and 0 for ResNet."""

    patch_size: PositiveInt | None = None
    """Side in pixels of a ViT patch. None: 4 for images up to 32 px, 8 up to 64 px and 16 above. Change it to trade the
    number of tokens for speed. Only timm's ViT class supports it."""

    stem: Literal["auto", "imagenet", "small"] = "auto"
    """``imagenet``: the model's own stem. ``small``: a ResNet's first convolution is 3×3 with stride 1 and there is no
    max-pooling, so no resolution is lost before the first stage. ``auto``: ``small`` up to 64 px for ResNets with the
    plain 7×7 stem. Change it to keep the ImageNet stem on small images, which is faster."""

    position_interpolation: Literal["antialiased", "authors"] = "antialiased"
    """How a ViT's position embeddings are adapted to crops of a size other than ``image_size``. antialiased: timm's
    bicubic filter. authors: bicubic without antialiasing, with the authors' scale of (n + 0.1) / 14 for n patches along
    a side; features of local crops then differ by up to 1.5 %. Only the paper's ViTs support it."""

    init: str | None = Field(default=None, min_length=1)
    """Initial weights: ``timm:NAME``, ``hf-hub:OWNER/NAME``, or a path (a checkpoint, or the folder of a finished run,
    to continue it with a new schedule and new heads). Omit to start from random weights. The control ``untrained`` has
    these weights too."""

    frozen_depth: int = Field(default=0, ge=0)
    """Number of frozen layers, counted from the input: the first is the stem or patch embedding, each further one is a
    block. Their BatchNorms use their running statistics. Raise it to adapt only the last blocks of initial weights."""

    @property
    def initial_files(self) -> list[str]:
        """The files of the initial weights; empty if there are no initial weights or they come from timm or the hub.

        A path without the suffix of a weight file is a folder: in the hub's layout if it has a config.json, else the
        folder of a run, which need not have been trained yet.
        """
        if self.init is None or self.init.startswith(("timm:", "hf-hub:")):
            return []
        path = Path(self.init)
        if path.suffix in WEIGHTS or path.is_file():
            return [str(path)]
        if (path / "config.json").is_file():
            return sorted(str(file) for file in path.iterdir() if file.name == "config.json" or file.suffix in WEIGHTS)
        return [str(path / "backbone.safetensors")]
