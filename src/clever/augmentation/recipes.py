"""The training recipes BAug, CAug and CAug+: two global views and some local ones, with what was drawn for each.

Order of operations (the authors' ``main_dino.py:607-751``): random resized crop, flip, rotation (caug, caug_plus),
elastic distortion (caug_plus), colour jitter, grayscale, blur, solarisation (second global view), normalisation.
Every view is drawn on its own. Between operations the authors' pipeline rounds to whole grey levels (Pillow); this
one stays in float32, which moves a result by a few grey levels at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from clever.augmentation.options import AugmentationOptions
from clever.augmentation.pixels import check_normalisation, check_pixels
from clever.augmentation.render import Coefficients, render
from clever.augmentation.sample import Distributions, Table, draw_uniforms, make_table
from clever.augmentation.tables import move, split, stack
from clever.errors import UserError

Kind = Literal["global", "local"]
KINDS: tuple[Kind, ...] = ("global", "local")


@dataclass(frozen=True)
class View:
    """One view of every image of a batch.

    ``images`` is float32 [N, 3, S, S], normalised; ``parameters`` the table of :mod:`clever.augmentation.sample` that
    made it, on the same device.
    """

    images: Tensor
    parameters: Table
    kind: Kind


class Augmentation:
    """Makes the views of a recipe, batched on the device that holds the pixels.

    Args:
        options: the recipe.
        mean, std: of the three channels, for pixels in [0, 1].
        channels_last: lay the views out for convolutions.
    """

    def __init__(
        self,
        options: AugmentationOptions,
        mean: Sequence[float],
        std: Sequence[float],
        channels_last: bool = False,
    ) -> None:
        check_normalisation(mean, std)
        self.options = options
        self.mean = (float(mean[0]), float(mean[1]), float(mean[2]))
        self.std = (float(std[0]), float(std[1]), float(std[2]))
        self.channels_last = channels_last
        self.kinds: list[Kind] = ["global", "global"]
        self.kinds += ["local"] * options.local_views

    def draw(self, sizes: Tensor, generator: torch.Generator, share: int = 0, shares: int = 1) -> list[Table]:
        """One table of parameters a view (global 1, global 2, local ...), on the CPU.

        Args:
            sizes: int64 [N, 2], height and width of each image.
            generator: a CPU generator; the tables are the same whatever device the pixels are on.
            share: which of ``shares`` equal parts of a larger batch these images are: each gets the row that it would
                get if the whole batch were drawn at once.
        """
        sizes, rows = sizes.cpu(), len(sizes)
        mine = slice(share * rows, (share + 1) * rows)
        return [
            make_table(draw_uniforms(shares * rows, generator)[mine], sizes, self.distributions(view))
            for view in range(len(self.kinds))
        ]

    def distributions(self, view: int) -> Distributions:
        """What the parameters of the view of this number are drawn from."""
        o = self.options
        blurs = (o.blur_probability_global_1, o.blur_probability_global_2)
        return Distributions(
            scale=o.global_scale if self.kinds[view] == "global" else o.local_scale,
            ratio=o.crop_ratio,
            flip=o.flip_probability,
            degrees=o.rotation_degrees if o.rotates else 0.0,
            elastic=o.elastic_probability if o.distorts else 0.0,
            jitter=o.jitter_probability,
            brightness=o.brightness,
            contrast=o.contrast,
            saturation=o.saturation,
            hue=o.hue,
            grayscale=o.grayscale_probability,
            blur=blurs[view] if view < 2 else o.blur_probability_local,
            blur_radius=o.blur_radius,
            solarise=o.solarise_probability if view == 1 else 0.0,
        )

    def __call__(self, pixels: Tensor, sizes: Tensor, generator: torch.Generator) -> list[View]:
        """Draw parameters and make the views: ``apply(pixels, sizes, draw(sizes, generator))``."""
        return self.apply(pixels, sizes, self.draw(sizes, generator))

    @torch.no_grad()
    def apply(self, pixels: Tensor, sizes: Tensor, tables: list[Table]) -> list[View]:
        """Make the views that the tables describe.

        Args:
            pixels: uint8 [N, 3, H, W], padded at the bottom and right where sizes differ.
            sizes: int64 [N, 2], the height and width of each image within ``pixels``.
            tables: what :meth:`draw` gave, or the parameters of earlier views.

        Raises:
            UserError: if the pixels are not uint8 [N, 3, H, W] or the number of tables or rows does not fit.
        """
        check_pixels(pixels, sizes)
        if len(tables) != len(self.kinds) or any(len(table["flip"]) != len(pixels) for table in tables):
            raise UserError(f"{self.options.name} needs {len(self.kinds)} tables of {len(pixels)} rows each")
        tables = [move(table, torch.device("cpu")) for table in tables]
        parameters = split(move(stack(tables), pixels.device), len(pixels))
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        views: list[View] = []
        with torch.autocast(pixels.device.type, enabled=False):
            for kind in KINDS:
                size = self.options.global_size if kind == "global" else self.options.local_size
                first, count = len(views), self.kinds.count(kind)
                if count == 0:
                    continue
                table = stack(tables[first : first + count])
                images = torch.empty(len(table["flip"]), 3, size, size, device=pixels.device, memory_format=layout)
                render(pixels, table, self._coefficients(size), images)
                for number, part in enumerate(torch.split(images, len(pixels)), start=first):
                    views.append(View(part, parameters[number], kind))
        return views

    def _coefficients(self, size: int) -> Coefficients:
        o = self.options
        return Coefficients(
            size=size,
            interpolation=o.interpolation,
            elastic_alpha=o.elastic_alpha,
            elastic_sigma=o.elastic_sigma,
            largest_blur=o.blur_radius[1],
            solarise_threshold=o.solarise_threshold,
            mean=self.mean,
            std=self.std,
        )
