"""The patch projection against the convolution that it replaces."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clever.backbones.patch_projection import PatchProjection


@pytest.mark.parametrize("bias", [True, False])
def test_product_and_gradients_equal_the_convolution(bias: bool) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 10, (4, 2), (4, 2), bias=bias).double()
    layer = PatchProjection.of(convolution)
    assert dict(layer.named_parameters()).keys() == dict(convolution.named_parameters()).keys()
    images = torch.randn(5, 3, 12, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 10, 3, 4, dtype=torch.float64)
    expected, found = convolution(images), layer.by_product(images)
    torch.testing.assert_close(found, expected)
    inputs = [images, *convolution.parameters()]
    wanted = torch.autograd.grad((expected * weight).sum(), inputs)
    torch.testing.assert_close(torch.autograd.grad((found * weight).sum(), inputs), wanted)
    assert torch.equal(layer(images), expected)  # on a CPU, the convolution itself is used


@pytest.mark.parametrize("change", [{"stride": 2}, {"padding": 1}, {"dilation": 2}], ids=str)
def test_other_convolutions_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="is not a patch projection"):
        PatchProjection.of(nn.Conv2d(3, 4, 4, **({"stride": 4} | change)))
