"""The training augmentations BAug, CAug and CAug+: two global views and some local ones, each with its parameters.

Order of operations (the authors' ``main_dino.py:607-751``): random resized crop, flip, rotation (caug, caug_plus),
elastic distortion (caug_plus), colour jitter, grayscale, blur, solarisation (second global view), normalisation. With
``rotates_after_blur``, as in DDCL, rotation and elastic distortion follow the blur. Every view is drawn independently.
The authors' pipeline rounds to whole grey levels between operations (Pillow). This pipeline stays in float32, which
changes a result by at most a few grey levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby

import torch
from torch import Tensor

from clever.augmentation.differentiable import FACTORS
from clever.augmentation.options.augmentation import AugmentationOptions
from clever.augmentation.options.views import ExtraView
from clever.augmentation.parameters import AugmentationParameterSpace
from clever.augmentation.pixels import check_normalisation, check_pixels
from clever.augmentation.render import Coefficients, render, render_differentiably
from clever.augmentation.sample import Distributions, Table, draw_uniforms, make_table
from clever.augmentation.tables import move, split, stack
from clever.augmentation.views import View, ViewMaker
from clever.errors import UserError


class Augmentation(ViewMaker):
    """Makes the views of a training augmentation.

    Args:
        options: the augmentation.
        mean, std: normalisation of the three channels, for pixels in [0, 1].
        channels_last: return the views in channels-last memory format.
        extra: additional views of every image, after the augmentation's views, whose parameters they do not change.
    """

    def __init__(
        self,
        options: AugmentationOptions,
        mean: Sequence[float],
        std: Sequence[float],
        channels_last: bool = False,
        extra: Sequence[ExtraView] = (),
    ) -> None:
        check_normalisation(mean, std)
        self.options = options
        self.mean = (float(mean[0]), float(mean[1]), float(mean[2]))
        self.std = (float(std[0]), float(std[1]), float(std[2]))
        self.channels_last = channels_last
        self.kinds = ["global", "global"]
        self.kinds += ["local"] * options.local_views
        self.kinds += ["extra"] * len(extra)
        sizes = {"global": options.global_size, "local": options.local_size}
        self.view_sizes = [sizes[kind] for kind in self.kinds if kind in sizes]
        self.view_sizes += [view.size or options.global_size for view in extra]
        self.extra = tuple(extra)
        self.space = _space_of(options)

    def draw(self, sizes: Tensor, generator: torch.Generator, chunk: int = 0, chunks: int = 1) -> list[Table]:
        sizes, rows = sizes.cpu(), len(sizes)
        mine = slice(chunk * rows, (chunk + 1) * rows)
        tables: list[Table] = []
        for view in range(len(self.kinds)):
            uniforms, group = draw_uniforms(chunks * rows, generator), self._images_that_share(view)
            if group > 1:
                uniforms = uniforms[torch.arange(chunks * rows) // group * group]
            table = make_table(uniforms[mine], sizes, self.distributions(view))
            crop_of = self.extra[view - len(self.kinds)].crop_of if self.kinds[view] == "extra" else None
            if crop_of is not None:
                other = tables[self.names.index(crop_of)]
                table |= {name: column for name, column in other.items() if name.startswith("crop_")}
            tables.append(table)
        return tables

    def _images_that_share(self, view: int) -> int:
        if self.kinds[view] != "extra":
            return self.shared_draws
        return self.extra[view - len(self.kinds)].shared_draws

    def distributions(self, view: int) -> Distributions:
        """The distributions of the parameters of the view with this index."""
        if self.kinds[view] != "extra":
            return distributions(self.options, view)
        extra = self.extra[view - len(self.kinds)]
        if extra.scale is None:
            return Distributions()
        drawn = replace(distributions(self.options, 2), scale=extra.scale)
        return replace(drawn, flip=0.0, degrees=0.0, elastic=0.0) if extra.colours_only else drawn

    def __call__(self, pixels: Tensor, sizes: Tensor, generator: torch.Generator) -> list[View]:
        """Draw parameters and make the views: ``apply(pixels, sizes, draw(sizes, generator))``."""
        return self.apply(pixels, sizes, self.draw(sizes, generator))

    @torch.no_grad()
    def apply(
        self,
        pixels: Tensor,
        sizes: Tensor,
        tables: list[Table],
        *,
        latents: Tensor | None = None,
        differentiable: bool = False,
    ) -> list[View]:
        check_pixels(pixels, sizes)
        if len(tables) != len(self.kinds) or any(len(table["flip"]) != len(pixels) for table in tables):
            raise UserError(f"{self.options.name} needs {len(self.kinds)} tables of {len(pixels)} rows each")
        tables = [move(table, torch.device("cpu")) for table in tables]
        parameters = split(move(stack(tables), pixels.device), len(pixels))
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        views: list[View] = []
        with torch.autocast(pixels.device.type, enabled=False):
            for size, group in groupby(range(len(tables)), key=self.view_sizes.__getitem__):
                numbers = list(group)
                table = stack([tables[number] for number in numbers])
                images = torch.empty(len(table["flip"]), 3, size, size, device=pixels.device, memory_format=layout)
                fuse = self.fuse and pixels.device.type == "cuda"
                render(pixels, table, replace(self._coefficients(size), fuse=fuse), images)
                for number, part in zip(numbers, torch.split(images, len(pixels)), strict=True):
                    kind, normalisation = self.kinds[number], (self.mean, self.std)
                    views.append(View(part, parameters[number], kind, sizes, normalisation=normalisation))
            if differentiable:
                with torch.enable_grad():
                    images, leaf = render_differentiably(pixels, tables[0], self._coefficients(self.view_sizes[0]))
                    images = images.contiguous(memory_format=layout)
                views[0] = replace(views[0], images=images, differentiable=leaf)
        return views

    def redraw(self, rows: int, times: int, generator: torch.Generator, chunk: int = 0, chunks: int = 1) -> Tensor:
        o = self.options
        uniforms = torch.rand(times, chunks * rows, len(FACTORS), generator=generator, dtype=torch.float64)
        uniforms = uniforms[:, chunk * rows : (chunk + 1) * rows]
        strengths = torch.tensor([o.brightness, o.contrast, o.saturation], dtype=torch.float64)
        low, high = (1.0 - strengths).clamp_min(0.0), 1.0 + strengths
        factors = low + (high - low) * uniforms[..., :3]
        return torch.cat([factors, o.hue * (2.0 * uniforms[..., 3:] - 1.0)], -1).float()

    def _coefficients(self, size: int) -> Coefficients:
        o = self.options
        return Coefficients(
            size=size,
            interpolation=o.interpolation,
            elastic_alpha=o.elastic_alpha,
            elastic_sigma=o.elastic_sigma,
            largest_blur=o.blur_radius[1],
            blur_filter=o.blur_filter,
            rotates_after_blur=o.rotates_after_blur,
            solarise_threshold=o.solarise_threshold,
            mean=self.mean,
            std=self.std,
        )


def distributions(options: AugmentationOptions, view: int) -> Distributions:
    """The distributions of the parameters of an augmentation's view: views 0 and 1 are global, all others local."""
    o = options
    blurs = (o.blur_probability_global_1, o.blur_probability_global_2)
    return Distributions(
        scale=o.global_scale if view < 2 else o.local_scale,
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


@lru_cache
def _space_of(options: AugmentationOptions) -> AugmentationParameterSpace:
    return AugmentationParameterSpace((distributions(options, 0), distributions(options, 1)), options.global_size)
