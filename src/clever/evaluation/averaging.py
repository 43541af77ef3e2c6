"""Feature averaging: an image's feature is the mean over fresh random transformations of it.

Foster et al. 2021 (invclr, ``eval.py``, ``evaluate/lbfgs.py``) average the un-normalised output of the encoder in
evaluation mode over M transformations, M = 100 for CIFAR (crop, flip, colours) and M = 30 for Spirograph (the image
rendered again with fresh nuisances), for both the training and the test images of a probe. M = 1 is their ordinary
evaluation of transformed images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from clever.augmentation import AugmentationOptions, Table, ViewOptions, make_view_maker
from clever.augmentation.constants import constant
from clever.errors import UserError
from clever.randomness import make_generator


class FreshViews:
    """Draws and makes random views, each a function of only the seed, the purpose and the image.

    Args:
        augmentation: the augmentation whose first global view is drawn.
        image_size: side of the views.
        mean, std: normalisation of the three channels, for pixels in [0, 1].

    Raises:
        UserError: the augmentation renders images of another size.
    """

    def __init__(self, augmentation: ViewOptions, image_size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        # Only the view maker of a generated source renders images; all others accept any size.
        if augmentation.source is not None and image_size != augmentation.global_size:
            raise UserError(
                f"averaging.augmentation {augmentation.name} renders images of {augmentation.global_size} px: leave "
                f"image_size out or make it {augmentation.global_size}, not {image_size}"
            )
        self._maker = make_view_maker(first_view_only(augmentation, image_size), mean, std)

    def draw(self, sizes: Tensor, indices: Tensor, times: int, seed: int, *purpose: str | int) -> list[list[Table]]:
        """Tables for ``times`` views of each image, by pass of :meth:`make`.

        Args:
            sizes: int64 [N, 2], height and width of each image.
            indices: int64 [N], each image's index in its split.
        """
        passes = -(-times // len(self._maker.kinds))
        drawn = [
            self._maker.draw(size.expand(passes, 2), make_generator(seed, *purpose, index))
            for size, index in zip(sizes.cpu(), indices.tolist(), strict=True)
        ]
        # An image's tables have one row per pass; applying them needs one row per image.
        return [
            [
                {name: torch.stack([tables[view][name][number] for tables in drawn]) for name in drawn[0][view]}
                for view in range(len(self._maker.kinds))
            ]
            for number in range(passes)
        ]

    def make(
        self, pixels: Tensor, sizes: Tensor, tables: list[list[Table]], times: int, latents: Tensor | None = None
    ) -> Iterator[Tensor]:
        """``times`` batches of views, float32 [N, 3, image_size, image_size], normalised.

        Args:
            pixels: uint8 [N, 3, H, W].
            sizes: int64 [N, 2].
            tables: the tables that :meth:`draw` returned for the same ``times``.
            latents: float32 [N, L] or None, for augmentations that render.
        """
        for left, drawn in zip(range(times, 0, -len(self._maker.kinds)), tables, strict=True):
            for view in self._maker.apply(pixels, sizes, drawn, latents=latents)[:left]:
                yield view.images


_Augmentation = TypeVar("_Augmentation", bound=ViewOptions)


def first_view_only(augmentation: _Augmentation, image_size: int) -> _Augmentation:
    """The augmentation with two global views of ``image_size``, both drawn like its first view, and no other views."""
    if not isinstance(augmentation, AugmentationOptions):
        return augmentation
    changes: dict[str, object] = {
        "global_size": image_size,
        "local_views": 0,
        # The two global views differ only in blur and solarisation.
        "blur_probability_global_2": augmentation.blur_probability_global_1,
        "solarise_probability": 0.0,
    }
    return augmentation.model_copy(update=changes)


def to_bytes(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Normalised images float32 [N, 3, H, W] as pixels again, uint8, rounded to the nearest grey level."""
    shift, scale = (constant(tuple(values), images.device, images.dtype).view(1, 3, 1, 1) for values in (mean, std))
    return ((images * scale + shift) * 255.0).round_().clamp_(0.0, 255.0).to(torch.uint8)
