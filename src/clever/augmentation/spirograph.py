"""Views of spirographs: two drawings of the same curve that differ in fresh nuisances (Foster et al., ICLR 2021).

Stored pixels are not used: every view is rendered on the device, from each image's latents in the store and the
nuisances drawn for the view (ae-foster/invclr:data/spirograph.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clever import spirograph
from clever.augmentation.options.spirograph import SpirographViewOptions
from clever.augmentation.options.views import ExtraView
from clever.augmentation.pixels import check_normalisation, normalise_
from clever.augmentation.sample import Table
from clever.augmentation.tables import move
from clever.augmentation.views import ParameterSpace, View, ViewMaker
from clever.errors import UserError
from clever.spirograph_images import draw, render, standardise


class SpirographParameterSpace(ParameterSpace):
    """The nuisances, z-scored by their uniform distributions; the relative transformation is the vectors'
    difference."""

    def __init__(self, nuisances: tuple[spirograph.Name, ...]) -> None:
        self.names = nuisances
        self.relative_names = nuisances
        self._nuisances = nuisances

    def vector(self, view: View) -> Tensor:
        """Float32 [N, P], each entry with mean 0 and standard deviation 1."""
        columns = torch.stack([view.parameters[name] for name in self._nuisances], 1)
        return standardise(columns, self._nuisances)

    def relative(self, first: View, second: View) -> Tensor:
        """Float32 [N, P]: ``vector(second) - vector(first)``."""
        return self.vector(second) - self.vector(first)


class SpirographViews(ViewMaker):
    """Draws the views of spirographs.

    The tables have a float32 column for every nuisance. ``View.differentiable`` holds the same values, in the order of
    ``options.nuisances``.

    Args:
        options: which latents are nuisances.
        mean, std: normalisation of the three channels, for pixels in [0, 1].
        channels_last: return the views in channels-last memory format.
        extra: must be empty.

    Raises:
        UserError: extra views are requested.
    """

    def __init__(
        self,
        options: SpirographViewOptions,
        mean: Sequence[float],
        std: Sequence[float],
        channels_last: bool = False,
        extra: Sequence[ExtraView] = (),
    ) -> None:
        check_normalisation(mean, std)
        if extra:
            raise UserError(f"augmentation spirograph draws two views by formula and cannot make {extra[0].name}")
        self.options = options
        self.mean, self.std = tuple(mean), tuple(std)
        self.channels_last = channels_last
        self.kinds = ["global", "global"]
        self.space = SpirographParameterSpace(options.nuisances)

    def draw(self, sizes: Tensor, generator: torch.Generator, chunk: int = 0, chunks: int = 1) -> list[Table]:
        """Fresh nuisances for both views of every image, independently of each other; see :class:`ViewMaker`."""
        both = self.redraw(len(sizes), len(self.kinds), generator, chunk, chunks)
        return [dict(zip(self.options.nuisances, values.unbind(1), strict=True)) for values in both]

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
        """Draw the views; see :class:`ViewMaker`.

        Args:
            pixels: [N, ...]; only their number and device are used.
            latents: float32 [N, 10] in the order of ``clever.spirograph.NAMES``.

        Raises:
            UserError: the spirographs' latents are missing, or the number of tables or rows does not match.
        """
        if latents is None or tuple(latents.shape) != (len(pixels), len(spirograph.NAMES)):
            found = "none" if latents is None else f"{list(latents.shape)}"
            raise UserError(
                f"augmentation spirograph needs latents [{len(pixels)}, {len(spirograph.NAMES)}], not {found}; "
                "prepare data of source spirograph"
            )
        fitting = all(
            set(table) == set(self.options.nuisances) and all(len(column) == len(pixels) for column in table.values())
            for table in tables
        )
        if len(tables) != len(self.kinds) or not fitting:
            raise UserError(
                f"augmentation spirograph needs {len(self.kinds)} tables of {len(pixels)} rows of "
                f"{', '.join(self.options.nuisances)}"
            )
        latents = latents.to(pixels.device)
        views: list[View] = []
        for number, table in enumerate(tables):
            parameters = move(table, pixels.device)
            values = torch.stack([parameters[name] for name in self.options.nuisances], 1)
            with torch.set_grad_enabled(differentiable and number == 0):
                leaf = values.requires_grad_() if differentiable and number == 0 else None
                images = self._render(latents, values)
            views.append(View(images, parameters, self.kinds[number], sizes, leaf))
        return views

    def redraw(self, rows: int, times: int, generator: torch.Generator, chunk: int = 0, chunks: int = 1) -> Tensor:
        """Float32 [times, rows, A] fresh nuisances on the CPU; see :class:`ViewMaker`."""
        drawn = draw(times * chunks * rows, generator, self.options.nuisances)
        return drawn.view(times, chunks * rows, -1)[:, chunk * rows : (chunk + 1) * rows].float()

    def _render(self, latents: Tensor, nuisances: Tensor) -> Tensor:
        columns = dict(zip(spirograph.NAMES, latents.unbind(1), strict=True))
        columns |= dict(zip(self.options.nuisances, nuisances.unbind(1), strict=True))
        images = render(torch.stack([columns[name] for name in spirograph.NAMES], 1))
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return normalise_(images.contiguous(memory_format=layout), self.mean, self.std)
