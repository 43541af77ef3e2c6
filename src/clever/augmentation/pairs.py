"""Two photographs of the same object as views, as in 3DIEBench: the object is transformed, not the pixels.

SIE (Garrido, Najman and LeCun, ICML 2023) trains on them without augmentation. The transformation between the views is
the object's relative rotation and, in SIE's second setting, also the change of the floor's and the light's hue
(facebookresearch/SIE:src/dataset.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, NoReturn

import torch
from torch import Tensor

from clever import threediebench
from clever.augmentation.cpu_chunks import in_chunks, put_rows_
from clever.augmentation.crop import centre_window, crop_bytes, lay_out, resized_crop
from clever.augmentation.options.pairs import PairViewOptions
from clever.augmentation.options.views import ExtraView
from clever.augmentation.pixels import check_normalisation, check_pixels, normalise_
from clever.augmentation.sample import Table
from clever.augmentation.tables import upload
from clever.augmentation.views import ParameterSpace, View, ViewMaker
from clever.errors import UserError
from clever.quaternions import quaternion, relative_quaternion

QUATERNION = tuple(f"rotation_q{part}" for part in "xyzw")

HUES = ("floor_hue", "light_hue")


class PairParameterSpace(ParameterSpace):
    """The object's rotation and, if the options include colour, the hues.

    A vector holds the photograph's unit quaternion and hues, z-scored with the closed-form moments of uniform angles in
    [-pi/2, pi/2] and hues in [0, 1]. The relative transformation is the quaternion of R1^-1 R2, with the sign of the
    product, and the differences of the hues, all unscaled, as in SIE's targets.
    """

    relative_has_unit: ClassVar[bool] = True

    def __init__(self, relative: Literal["rotation", "rotation_and_colour"]) -> None:
        self._hues = HUES if relative == "rotation_and_colour" else ()
        self.names = (*QUATERNION, *self._hues)
        self.relative_names = (*QUATERNION, *(f"{name}_change" for name in self._hues))

    def vector(self, view: View) -> Tensor:
        """Float32 [N, 4] or [N, 6], each entry with mean 0 and standard deviation 1."""
        # Half an angle is uniform in [-pi/4, pi/4]; these are the means of its cosine, squared cosine and squared sine.
        cosine, cosine_2, sine_2 = 2 * math.sqrt(2) / math.pi, 0.5 + 1 / math.pi, 0.5 - 1 / math.pi
        # w is a sum of a product of three cosines and one of three sines; x, y and z have mean 0 and mean square
        # cosine_2^2 sine_2 + sine_2^2 cosine_2, where cosine_2 + sine_2 = 1.
        mean_w, square_w = cosine**3, cosine_2**3 + sine_2**3
        deviation = math.sqrt(cosine_2 * sine_2)
        x, y, z, w = view.parameters["rotation"].unbind(1)
        columns = [x / deviation, y / deviation, z / deviation, (w - mean_w) / math.sqrt(square_w - mean_w**2)]
        columns += [(view.parameters[name] - 0.5) * math.sqrt(12) for name in self._hues]
        return torch.stack(columns, 1)

    def relative(self, first: View, second: View) -> Tensor:
        """Float32 [N, 4] or [N, 6]: quaternion (x, y, z, w), then the changes of floor and light hue."""
        rotation = relative_quaternion(first.parameters["rotation"], second.parameters["rotation"])
        changes = [second.parameters[name] - first.parameters[name] for name in self._hues]
        return torch.cat([rotation, *(change.unsqueeze(1) for change in changes)], 1)


class PairViews(ViewMaker):
    """Brings both photographs of every object to the views' size: resize of the shorter side (bicubic), centre crop.

    A batch of 2 N images holds the first photographs of N objects, then the second ones, as ``Batches(pairs=True)``
    yields them. The views' tables hold the photographs' latents: ``rotation`` float32 [N, 4], the unit quaternion (x,
    y, z, w) of the object's rotation; ``floor_hue`` and ``light_hue`` float32 [N].

    Args:
        options: size of the views and the transformation that add-ons get.
        mean, std: normalisation of the three channels, for pixels in [0, 1].
        channels_last: return the views in channels-last memory format.
        extra: must be empty.

    Raises:
        UserError: extra views are requested.
    """

    def __init__(
        self,
        options: PairViewOptions,
        mean: Sequence[float],
        std: Sequence[float],
        channels_last: bool = False,
        extra: Sequence[ExtraView] = (),
    ) -> None:
        check_normalisation(mean, std)
        if extra:
            raise UserError(
                f"augmentation pairs only has the two photographs of an object and cannot make {extra[0].name}"
            )
        self.options = options
        self.mean, self.std = tuple(mean), tuple(std)
        self.channels_last = channels_last
        self.kinds = ["global", "global"]
        self.space = PairParameterSpace(options.relative)

    def draw(self, sizes: Tensor, generator: torch.Generator, chunk: int = 0, chunks: int = 1) -> list[Table]:
        """Two empty tables: photographs have no random parameters."""
        return [{} for _ in self.kinds]

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
        """The two photographs of every object; see :class:`ViewMaker`.

        Args:
            pixels: uint8 [2 N, 3, H, W].
            sizes: int64 [2 N, 2].
            tables: ignored.
            latents: float32 [2 N, 7] in the order of ``clever.threediebench.NAMES``.

        Raises:
            UserError: the number of images is odd, 3DIEBench's latents are missing, or gradients are requested.
        """
        if differentiable:
            self._refuse_gradients()
        check_pixels(pixels, sizes)
        if len(pixels) % 2:
            raise UserError(f"augmentation pairs needs two photographs of every object, not {len(pixels)} in all")
        if latents is None or tuple(latents.shape) != (len(pixels), len(threediebench.NAMES)):
            found = "none" if latents is None else f"{list(latents.shape)}"
            raise UserError(
                f"augmentation pairs needs latents [{len(pixels)}, {len(threediebench.NAMES)}], not {found}; "
                "prepare data of source threediebench"
            )
        sizes, latents = sizes.cpu(), latents.to(pixels.device)
        columns: Table = {
            "rotation": quaternion(latents[:, threediebench.ROTATION]),
            "floor_hue": latents[:, threediebench.FLOOR_HUE],
            "light_hue": latents[:, threediebench.LIGHT_HUE],
        }
        images = self._resized(pixels, sizes)
        half = len(pixels) // 2
        return [
            View(images[part], {name: column[part] for name, column in columns.items()}, kind, sizes[part])
            for part, kind in zip((slice(half), slice(half, None)), self.kinds, strict=True)
        ]

    def redraw(self, rows: int, times: int, generator: torch.Generator, chunk: int = 0, chunks: int = 1) -> Tensor:
        """Raises UserError: photographs have no random parameters."""
        self._refuse_gradients()

    def _refuse_gradients(self) -> NoReturn:
        raise UserError(
            "augmentation pairs uses photographs, which are not differentiable; choose another equivariance add-on, "
            "or augmentation spirograph, whose images are drawn by formula"
        )

    def _resized(self, pixels: Tensor, sizes: Tensor) -> Tensor:
        device, size = pixels.device, self.options.global_size
        pixels = lay_out(pixels)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        out = torch.empty(len(pixels), 3, size, size, device=device, memory_format=layout)

        def work(rows: Tensor) -> None:
            box = centre_window(upload(sizes[rows], device), size, size)
            rows = upload(rows, device)
            upright = torch.zeros(len(rows), dtype=torch.bool, device=device)
            put_rows_(out, rows, normalise_(resized_crop(pixels, rows, box, upright, size), self.mean, self.std))

        in_chunks(work, torch.arange(len(pixels)), crop_bytes(pixels, size), device)
        return out
