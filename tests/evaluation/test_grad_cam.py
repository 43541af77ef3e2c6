"""Grad-CAM of a pooled map against its closed form, for the whole representation and each part; a planted patch is
found."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clever.backbones import Backbone, BackboneOptions, build_backbone
from clever.errors import UserError
from clever.evaluation.grad_cam import grad_cam
from clever.evaluation.parts import part_selections


def build(name: str) -> Backbone:
    return build_backbone(BackboneOptions(name=name, image_size=64), seed=0).eval()


def images() -> Tensor:
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["resnet18", "vmamba_tiny"])
def test_each_position_is_weighted_by_its_agreement_with_the_part(name: str) -> None:
    """d(sum_c z_c z_c')/dA_c = z_c / (rows * columns), so the map is relu(sum_c z_c A_c) over the part, up to this
    factor."""
    backbone = build(name)
    parts = part_selections(backbone.feature_dim, int(0.8 * backbone.feature_dim))
    with torch.no_grad():
        last, output = backbone.last_map(images()), backbone(images())
    found = {}
    for part, columns in parts.items():
        found[part] = grad_cam(backbone, images(), columns)
        expected = torch.einsum("nc,nchw->nhw", output[:, columns], last[:, columns]).relu()
        expected /= last.shape[2] * last.shape[3]
        torch.testing.assert_close(found[part], expected, atol=1e-5, rtol=1e-3, msg=part)
    torch.testing.assert_close(grad_cam(backbone, images()), found["ALL"])
    assert not torch.allclose(found["IR"], found["EF"])
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_a_planted_patch_is_found() -> None:
    """Everything except one square is black, and without biases the map is zero at black positions."""
    image = torch.zeros(1, 3, 64, 96)
    image[:, :, 40:56, 64:80] = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    cam = grad_cam(build("resnet18"), image)[0]
    row, column = divmod(int(cam.argmax()), cam.shape[1])
    stride = 64 // cam.shape[0]
    assert 40 - stride <= stride * row + stride / 2 < 56 + stride
    assert 64 - stride <= stride * column + stride / 2 < 80 + stride


@pytest.mark.parametrize("name", ["vit_tiny", "mambaout_femto"])
def test_a_backbone_that_does_not_pool_its_map_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"backbone {name}: its representation is not its last map pooled"):
        grad_cam(build(name), images())
