"""Elastic distortion against torchvision's elastic_transform, and the statistics of the noise that drives it.

Tolerances: 1e-6 of half an image for fields; 0.02/255 for pixels, compared with torchvision's, given the same field.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision.transforms.functional as tvf
from scipy import stats
from torch import Tensor
from torchvision.transforms import ElasticTransform

from clever.augmentation.elastic import displacement, elastic, noise, warp


@pytest.mark.parametrize("size", [32, 45, 96])
def test_warp_equals_torchvision(images: Callable[..., Tensor], size: int) -> None:
    batch = images(4, size, size).float() / 255
    field = displacement(torch.arange(4), size, 300.0, 3.0)
    ours = warp(batch, field)
    for row in range(4):
        theirs = tvf.elastic_transform(batch[row], field[row : row + 1].permute(0, 2, 3, 1), fill=[0.0])
        torch.testing.assert_close(ours[row], theirs, rtol=0, atol=0.02 / 255)
    assert (ours - batch).abs().mean() > 0.02


@pytest.mark.parametrize(("size", "sigma"), [(64, 5.0), (32, 2.3)])
def test_field_equals_torchvision_given_the_noise(size: int, sigma: float) -> None:
    seed = torch.tensor([5, 2**31 - 1])
    taps = int(8 * sigma + 1) | 1
    smooth = tvf.gaussian_blur(noise(seed, size).double(), [taps, taps], [sigma, sigma])
    expected = smooth * 100.0 / size
    torch.testing.assert_close(displacement(seed, size, 100.0, sigma).double(), expected, rtol=0, atol=1e-6)


def test_fields_are_distributed_like_torchvision() -> None:
    torch.manual_seed(0)
    transform = ElasticTransform(100.0, 5.0)
    theirs = torch.cat([transform.get_params([100.0] * 2, [5.0] * 2, [48, 48]) for _ in range(60)])
    ours = displacement(torch.arange(60) * 7919, 48, 100.0, 5.0)
    for part in range(2):
        a, b = ours[:, part, ::12, ::12].flatten(), theirs[:, ::12, ::12, part].flatten()
        assert stats.ks_2samp(a.numpy(), b.numpy()).pvalue > 1e-3


def test_noise_is_uniform_and_uncorrelated() -> None:
    values = noise(torch.arange(40), 64)
    assert values.min() >= -1
    assert values.max() < 1
    assert stats.kstest(values.flatten()[::7].numpy(), "uniform", (-1, 2)).pvalue > 1e-3
    flat = values.double()
    limit = 5 / flat[:, :, 1:].numel() ** 0.5
    variance = 1 / 3
    assert abs(flat[:, :, 1:].mul(flat[:, :, :-1]).mean()) / variance < limit
    assert abs(flat[:, :, :, 1:].mul(flat[:, :, :, :-1]).mean()) / variance < limit
    assert abs(flat[1:].mul(flat[:-1]).mean()) / variance < limit
    assert abs(flat[:, 0].mul(flat[:, 1]).mean()) / variance < limit * 2**0.5


def test_the_field_depends_only_on_the_seed() -> None:
    alone = noise(torch.tensor([77]), 32)
    among = noise(torch.tensor([3, 77, 77, 9]), 32)
    assert torch.equal(among[1], alone[0])
    assert torch.equal(among[2], alone[0])
    assert not torch.equal(among[0], among[1])


def test_noise_never_changes_between_versions() -> None:
    """Computes the hash with plain Python integers; every device must give these numbers."""

    def mix(bits: int) -> int:
        bits ^= bits >> 16
        bits = bits * 0x7FEB352D & 0xFFFFFFFF
        bits ^= bits >> 15
        bits = bits * 0x846CA68B & 0xFFFFFFFF
        return bits ^ bits >> 16

    expected = []
    for counter in range(2 * 4 * 4):
        bits = mix(mix(counter) ^ mix(1234567))
        signed = bits - 2**32 if bits >= 2**31 else bits
        expected.append((signed >> 8) / 2**23)
    assert noise(torch.tensor([1234567]), 4).flatten().tolist() == expected


def test_reflection_padding_repeats_on_small_images(images: Callable[..., Tensor]) -> None:
    batch = images(2, 8, 8).float() / 255
    warped = elastic(batch, torch.tensor([1, 2]), 10.0, 5.0)
    assert warped.isfinite().all()
    assert not torch.equal(warped, batch)


def test_noise_is_the_same_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    seed = torch.tensor([0, 1, 2**31 - 1])
    assert torch.equal(noise(seed.cuda(), 50).cpu(), noise(seed, 50))
