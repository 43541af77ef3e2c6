"""The parameters of an augmentation's views as vectors: inputs or targets of EquiMod, SIE and AugSelf.

EquiMod's vector (SimCLR+EquiMod:src/transforms.py): the crop's corner and extent, the flip, whether the jitter was
applied, the order and the factors of its four operations, grayscale, blur and solarisation, z-scored with constants
measured by sampling. Ours expresses the crop as fractions of the image, which is the same after z-scoring for images of
one size, adds rotation and elastic distortion, and leaves out parameters that an augmentation never varies.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clever.augmentation.sample import Distributions, Table, draw_uniforms, make_table
from clever.augmentation.tables import upload
from clever.augmentation.views import ParameterSpace, View
from clever.randomness import make_generator

SAMPLES = 16384
"""Number of draws per global view for measuring mean and standard deviation, accurate to about 1 % of the standard
deviation."""


class AugmentationParameterSpace(ParameterSpace):
    """The parameters of the global views; the relative transformation is the difference of the two vectors.

    Args:
        views: the distributions of each global view's parameters.
        size: side in pixels of the square images on which mean and standard deviation are measured.
    """

    def __init__(self, views: tuple[Distributions, ...], size: int) -> None:
        sizes = torch.full((SAMPLES, 2), size)
        generator = make_generator(0, "parameter space")
        tables = [make_table(draw_uniforms(SAMPLES, generator), sizes, view) for view in views]
        columns = torch.cat([torch.stack(list(_columns(table, sizes).values()), 1) for table in tables])
        deviation = columns.std(0, correction=0)
        self._varying = deviation.nonzero().flatten()
        self._mean, self._deviation = columns.mean(0)[self._varying], deviation[self._varying]
        names = list(_columns(tables[0], sizes))
        self.names = tuple(names[column] for column in self._varying.tolist())
        self.relative_names = self.names

    def vector(self, view: View) -> Tensor:
        device = view.images.device
        columns = torch.stack(list(_columns(view.parameters, upload(view.sizes, device)).values()), 1)
        # Column indices, not a mask: with a mask, the host would wait for the number of selected columns.
        varying, mean, deviation = (upload(c, device) for c in (self._varying, self._mean, self._deviation))
        return ((columns.index_select(1, varying) - mean) / deviation).float()

    def relative(self, first: View, second: View) -> Tensor:
        return self.vector(second) - self.vector(first)


def _columns(table: Table, sizes: Tensor) -> dict[str, Tensor]:
    """Columns float64 [N], in the order of the vector."""
    height, width = sizes.double().unbind(1)
    columns = {
        "crop_top": table["crop_top"] / height,
        "crop_left": table["crop_left"] / width,
        "crop_height": table["crop_height"] / height,
        "crop_width": table["crop_width"] / width,
        "flip": table["flip"],
        "angle": table["angle"],
        "elastic_applied": table["elastic_applied"],
        "jitter_applied": table["jitter_applied"],
        **{f"jitter_order_{place + 1}": table["jitter_order"][:, place] for place in range(4)},
        **{name: table[name] for name in ("brightness", "contrast", "saturation", "hue", "grayscale")},
        "blur_applied": table["blur_applied"],
        "blur_radius": table["blur_radius"],
        "solarise_applied": table["solarise_applied"],
    }
    return {name: column.double() for name, column in columns.items()}
