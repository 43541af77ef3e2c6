"""View makers: the interface shared by training augmentations, rendered data sets and pairs of photographs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from clever.augmentation.options.views import ExtraView
from clever.augmentation.sample import Table
from clever.errors import UserError

Kind = Literal["global", "local", "extra"]

Normalisation = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Mean and standard deviation of the three channels, for pixels in [0, 1]."""


@dataclass(frozen=True)
class View:
    """One view of every image of a batch.

    ``images`` is float32 [N, 3, S, S], normalised; ``parameters`` is the table of its parameters (for training
    augmentations, the table of :mod:`clever.augmentation.sample`), on the same device; ``sizes`` is int64 [N, 2],
    height and width of the source images, on the host.

    For a differentiable view, ``differentiable`` is the float32 [N, A] leaf from which ``images`` were computed, and
    ``redrawn`` float32 [K, N, A] holds K further values of it, drawn from the same distribution.

    ``normalisation`` holds the mean and standard deviation of the three channels with which ``images`` were normalised,
    for terms that change colours; None if the maker does not provide it.
    """

    images: Tensor
    parameters: Table
    kind: Kind
    sizes: Tensor
    differentiable: Tensor | None = None
    redrawn: Tensor | None = None
    normalisation: Normalisation | None = None

    def chunk(self, chunks: int) -> list[View]:
        """The view in ``chunks`` equal chunks, rows in order.

        Raises:
            ValueError: the view is differentiable, so its images depend on one leaf.
        """
        if chunks == 1:
            return [self]
        if self.differentiable is not None:
            raise ValueError("a differentiable view cannot be split")
        rows = [slice(start, start + len(self.images) // chunks) for start in _starts(len(self.images), chunks)]
        return [
            replace(
                self,
                images=self.images[chunk],
                parameters={name: column[chunk] for name, column in self.parameters.items()},
                sizes=self.sizes[chunk],
            )
            for chunk in rows
        ]


class ParameterSpace(ABC):
    """The parameters of views as vectors, for add-ons that predict them or take them as input."""

    names: tuple[str, ...]
    """Names of the P entries of :meth:`vector`."""
    relative_names: tuple[str, ...]
    """Names of the R entries of :meth:`relative`."""
    relative_has_unit: ClassVar[bool] = False
    """False: :meth:`relative` is 0 for the identity. True: it begins with a quaternion, which has length 1 for every
    rotation, including the identity."""

    @abstractmethod
    def vector(self, view: View) -> Tensor:
        """Float32 [N, P]: the view's parameters, each with mean 0 and standard deviation 1 over its distribution."""

    @abstractmethod
    def relative(self, first: View, second: View) -> Tensor:
        """Float32 [N, R]: the transformation from the first view of an image to the second."""


class ViewMaker(ABC):
    """Draws the parameters of views and makes them, batched on the device that holds the pixels.

    A subclass is built from ``(options, mean, std, channels_last, extra)``: its options, the mean and standard
    deviation of the three channels for pixels in [0, 1], whether to return views in channels-last memory format, and
    the requested extra views.
    """

    kinds: list[Kind]
    """Kinds of all views: two global ones, then local ones, then extra ones."""
    extra: tuple[ExtraView, ...] = ()
    """The requested extra views."""
    shared_draws: int = 1
    """Number of consecutive images that share the parameters of the augmentation's views."""
    fuse: bool = False
    """Compile chains of element-wise operations if the pixels are on a GPU."""
    space: ParameterSpace
    """Space of the views' parameters; a pure function of the options."""

    @property
    def names(self) -> list[str]:
        """Names of all views: global_1, global_2, local_1 and so on, then the names of the extra views."""
        numbered = [f"{kind}_{self.kinds[: place + 1].count(kind)}" for place, kind in enumerate(self.kinds)]
        return numbered[: len(numbered) - len(self.extra)] + [view.name for view in self.extra]

    @abstractmethod
    def draw(self, sizes: Tensor, generator: torch.Generator, chunk: int = 0, chunks: int = 1) -> list[Table]:
        """One table of parameters per view, on the CPU.

        Args:
            sizes: int64 [N, 2], height and width of each image.
            generator: a CPU generator; the tables are the same whatever device the pixels are on.
            chunk: index of these images' chunk among ``chunks`` equal chunks of a larger batch: each image gets the
                same row as if the whole batch were drawn at once.
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
        """Make the views that the tables describe, without gradients except as ``differentiable`` requests.

        Args:
            pixels: uint8 [N, 3, H, W], padded at the bottom and right where sizes differ.
            sizes: int64 [N, 2], the height and width of each image within ``pixels``.
            tables: the result of :meth:`draw`, or the parameters of earlier views.
            latents: float32 [N, L], the latents of each image; None if there are none.
            differentiable: make the first view from a leaf, ``View.differentiable``, so that gradients reach its
                parameters.

        Raises:
            UserError: pixels, tables or latents do not match, or the views cannot be differentiated.
        """

    @abstractmethod
    def redraw(self, rows: int, times: int, generator: torch.Generator, chunk: int = 0, chunks: int = 1) -> Tensor:
        """Float32 [times, rows, A] on the CPU: fresh draws of the values in ``View.differentiable``.

        ``chunk`` and ``chunks`` as in :meth:`draw`.

        Raises:
            UserError: the views cannot be differentiated.
        """


def chunk_views(views: Sequence[View], chunks: int) -> list[list[View]]:
    """Cut every view into ``chunks`` chunks: the views of the batch's first chunk, of the second, ..."""
    return [list(chunk) for chunk in zip(*(view.chunk(chunks) for view in views), strict=True)]


def _starts(rows: int, chunks: int) -> range:
    if rows % chunks:
        raise ValueError(f"{rows} rows do not divide into {chunks} chunks")
    return range(0, rows, rows // chunks)


def varied_space(name: str, space: ParameterSpace | None) -> ParameterSpace:
    """The space, after checking that views vary in it.

    Args:
        name: name of the add-on, for the message.
        space: the parameter space of the run's views.

    Raises:
        UserError: there is no space, or no parameter of the views varies.
    """
    if space is None or not space.names:
        raise UserError(
            f"{name} needs augmentation parameters, but this augmentation draws none; let it vary something (crop, "
            "flip, colour)"
        )
    return space
