"""A ViT's patch projection, computed as a matrix product on GPUs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class PatchProjection(nn.Conv2d):
    """A convolution whose stride equals its kernel size, that is, a linear layer on the pixels of each patch.

    cuDNN has no fast kernel for three input channels: on an H100 in bf16, the convolution took three times as long as
    the largest matrix product of a ViT-Small's block. Parameters and their names are those of the convolution; on a
    CPU, results are the convolution's, bit for bit.
    """

    @classmethod
    def of(cls, convolution: nn.Conv2d) -> PatchProjection:
        """Make a patch projection from a convolution, with the same parameters.

        Raises:
            ValueError: the patches overlap, are padded or are grouped.
        """
        plain = (convolution.padding, convolution.dilation, convolution.groups) == ((0, 0), (1, 1), 1)
        if convolution.stride != convolution.kernel_size or not plain:
            raise ValueError(f"{convolution} is not a patch projection")
        kernel = (convolution.kernel_size[0], convolution.kernel_size[1])
        bias = convolution.bias is not None
        layer = cls(convolution.in_channels, convolution.out_channels, kernel, kernel, bias=bias, device="meta")
        layer.weight, layer.bias = convolution.weight, convolution.bias
        return layer

    def forward(self, images: Tensor) -> Tensor:
        """Project images [N, C, H, W], with sides that are multiples of p, to [N, D, H / p, W / p]."""
        if images.device.type == "cpu":
            return super().forward(images)
        return self.by_product(images)

    def by_product(self, images: Tensor) -> Tensor:
        """Compute the projection as a matrix product, on any device."""
        count, channels, height, width = images.shape
        down, across = self.weight.shape[2:]
        patches = images.reshape(count, channels, height // down, down, width // across, across)
        patches = patches.permute(0, 2, 4, 1, 3, 5).reshape(count, height // down, width // across, -1)
        return F.linear(patches, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
