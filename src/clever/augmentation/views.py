"""What makes views: the interface that training recipes, rendered data sets and pairs of photographs share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from clever.augmentation.sample import Table
from clever.errors import UserError
from clever.options import Options

Kind = Literal["global", "local", "extra"]

FIRST, SECOND = "global_1", "global_2"
"""Names of the two global views (:attr:`ViewMaker.names`)."""

Normalisation = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Mean and deviation of the three channels, for pixels in [0, 1]."""


@dataclass(frozen=True)
class View:
    """One view of every image of a batch.

    ``images`` is float32 [N, 3, S, S], normalised; ``parameters`` the table that made it (for training recipes that of
    :mod:`clever.augmentation.sample`), on the same device; ``sizes`` int64 [N, 2], height and width of the images that
    it was made from, on the host.

    Of a view that was asked to be differentiable, ``differentiable`` is the float32 [N, A] leaf from which ``images``
    were computed, and ``redrawn`` float32 [K, N, A] holds K further values of it, drawn from the same distribution.

    ``normalisation`` is mean and deviation of the three channels that ``images`` were normalised with, for terms that
    change colours; None where the maker does not tell.
    """

    images: Tensor
    parameters: Table
    kind: Kind
    sizes: Tensor
    differentiable: Tensor | None = None
    redrawn: Tensor | None = None
    normalisation: Normalisation | None = None

    def chunk(self, parts: int) -> list[View]:
        """The view in ``parts`` equal parts, rows in order.

        Raises:
            ValueError: the view is differentiable: its images belong to one leaf.
        """
        if parts == 1:
            return [self]
        if self.differentiable is not None:
            raise ValueError("a differentiable view cannot be cut")
        rows = [slice(start, start + len(self.images) // parts) for start in _starts(len(self.images), parts)]
        return [
            replace(
                self,
                images=self.images[part],
                parameters={name: column[part] for name, column in self.parameters.items()},
                sizes=self.sizes[part],
            )
            for part in rows
        ]


@dataclass(frozen=True)
class ExtraView:
    """A view beyond those of the recipe that an equivariance add-on wants of every image."""

    name: str
    size: int | None = None
    """Side in pixels; None takes the recipe's global size."""
    scale: tuple[float, float] | None = None
    """Share of the image's area that the crop covers, everything else as the recipe's local views; None leaves the
    image un-augmented: the whole of it (its central square), resized."""
    shared_draws: int = 1
    """How many consecutive images of a batch share what is drawn for this view; 1: none do. Crops are shared as shares
    of an image's height and width, so that images of one size get the same box."""


class ViewOptions(Options):
    """Options of a view maker; ``name`` chooses it."""

    source: ClassVar[str | None] = None
    """The only data source that it can make views of; None for any."""
    pairs: ClassVar[bool] = False
    """True: a batch holds two photographs of every object instead of one of every image."""
    augments: ClassVar[bool] = True
    """Whether it changes images, and so can make an :class:`ExtraView`."""

    name: str
    global_size: int
    local_views: int


class ParameterSpace(ABC):
    """What the parameters of views mean as vectors, for add-ons that predict or are told them."""

    names: tuple[str, ...]
    """Of the P entries of :meth:`vector`."""
    relative_names: tuple[str, ...]
    """Of the R entries of :meth:`relative`."""
    relative_has_unit: ClassVar[bool] = False
    """False: :meth:`relative` is 0 for the identity. True: a quaternion leads it, which is of length 1 for the identity
    as for any other rotation."""

    @abstractmethod
    def vector(self, view: View) -> Tensor:
        """Float32 [N, P]: the view's parameters, each with mean 0 and deviation 1 over its distribution."""

    @abstractmethod
    def relative(self, first: View, second: View) -> Tensor:
        """Float32 [N, R]: the transformation that leads from the first view of an image to the second."""


class ViewMaker(ABC):
    """Draws the parameters of views and makes them, batched on the device that holds the pixels.

    A subclass is built from ``(options, mean, std, channels_last, extra)``: its options, mean and deviation of the
    three channels for pixels in [0, 1], whether to lay the views out for convolutions, and the extra views wanted.
    """

    kinds: list[Kind]
    """Of all views: two global ones, local ones, extra ones."""
    extra: tuple[ExtraView, ...] = ()
    """The extra views that were wanted."""
    shared_draws: int = 1
    """How many consecutive images share what is drawn for the views of the recipe."""
    fuse: bool = False
    """Compile chains of element-wise operations where the pixels are on a GPU."""
    space: ParameterSpace
    """Of the views' parameters; a pure function of the options."""

    @property
    def names(self) -> list[str]:
        """Of all views: global_1, global_2, local_1 and so on, and those of the extra ones."""
        numbered = [f"{kind}_{self.kinds[: place + 1].count(kind)}" for place, kind in enumerate(self.kinds)]
        return numbered[: len(numbered) - len(self.extra)] + [view.name for view in self.extra]

    @abstractmethod
    def draw(self, sizes: Tensor, generator: torch.Generator, share: int = 0, shares: int = 1) -> list[Table]:
        """One table of parameters a view, on the CPU.

        Args:
            sizes: int64 [N, 2], height and width of each image.
            generator: a CPU generator; the tables are the same whatever device the pixels are on.
            share: which of ``shares`` equal parts of a larger batch these images are: each gets the row that it would
                get if the whole batch were drawn at once.
        """

    @abstractmethod
    def apply(
        self,
        pixels: Tensor,
        sizes: Tensor,
        tables: list[Table],
        *,
        latents: Tensor | None = None,
        differentiable: bool = False,
    ) -> list[View]:
        """Make the views that the tables describe, without gradients but for what ``differentiable`` asks.

        Args:
            pixels: uint8 [N, 3, H, W], padded at the bottom and right where sizes differ.
            sizes: int64 [N, 2], the height and width of each image within ``pixels``.
            tables: what :meth:`draw` gave, or the parameters of earlier views.
            latents: float32 [N, L], what is known of each image; None where nothing is.
            differentiable: make the first view from a leaf, ``View.differentiable``, so that gradients reach its
                parameters.

        Raises:
            UserError: pixels, tables or latents do not fit, or the views cannot be differentiated.
        """

    @abstractmethod
    def redraw(self, rows: int, times: int, generator: torch.Generator, share: int = 0, shares: int = 1) -> Tensor:
        """Float32 [times, rows, A] on the CPU: fresh draws of what ``View.differentiable`` holds.

        ``share`` and ``shares`` as in :meth:`draw`.

        Raises:
            UserError: the views cannot be differentiated.
        """


def chunk_views(views: Sequence[View], parts: int) -> list[list[View]]:
    """Every view cut into ``parts``: the views of the first part of the batch, of the second, ..."""
    return [list(part) for part in zip(*(view.chunk(parts) for view in views), strict=True)]


def _starts(rows: int, parts: int) -> range:
    if rows % parts:
        raise ValueError(f"{rows} rows do not divide into {parts} parts")
    return range(0, rows, rows // parts)


def varied_space(name: str, space: ParameterSpace | None) -> ParameterSpace:
    """The space, if views differ in it.

    Args:
        name: of the add-on, for the message.
        space: of the run's views.

    Raises:
        UserError: there is none, or no parameter of the views ever changes.
    """
    if space is None or not space.names:
        raise UserError(
            f"{name} reads what was drawn for each view, and of these views nothing is; let the augmentation change "
            "something (crop, flip, colour)"
        )
    return space
