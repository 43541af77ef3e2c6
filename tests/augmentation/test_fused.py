"""The compiled chains of an augmentation's operations against the eager ones, with inductor's C++ backend."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from clever.augmentation import AugmentationOptions
from clever.augmentation.augmentation import Augmentation
from clever.randomness import make_generator

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)


def test_views_equal_the_eager_ones(images: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    options = AugmentationOptions(name="caug", global_size=16, local_size=8, local_views=1)
    augmentation = Augmentation(options, MEAN, STD)
    pixels = images(24, 20, 22)
    sizes = torch.tensor([[20, 22]] * 24)
    tables = augmentation.draw(sizes, make_generator(0, "test"))
    eager = augmentation.apply(pixels, sizes, tables)
    coefficients = augmentation._coefficients
    monkeypatch.setattr(augmentation, "_coefficients", lambda size: replace(coefficients(size), fuse=True))
    # On a CPU, `apply` turns fusing off with `replace`; keep it on, as on a GPU.
    monkeypatch.setattr("clever.augmentation.augmentation.replace", lambda given, **_: given)
    fused = augmentation.apply(pixels, sizes, tables)
    for one, other in zip(eager, fused, strict=True):
        difference = (one.images - other.images).abs() * torch.tensor(STD).view(3, 1, 1) * 255
        # Solarisation turns a rounding at its threshold into a jump.
        assert (difference > 0.05).float().mean() < 1e-3
        assert difference.mean() < 0.01
    assert tables[1]["solarise_applied"].any()
    assert tables[0]["grayscale"].any()


def test_a_cpu_never_fuses(images: Callable[..., Tensor]) -> None:
    options = AugmentationOptions(name="caug", global_size=16, local_size=8, local_views=1)
    pixels, sizes = images(6, 20, 20), torch.tensor([[20, 20]] * 6)
    plain, asked = Augmentation(options, MEAN, STD), Augmentation(options, MEAN, STD)
    asked.fuse = True
    tables = plain.draw(sizes, make_generator(0, "test"))
    for one, other in zip(plain.apply(pixels, sizes, tables), asked.apply(pixels, sizes, tables), strict=True):
        assert torch.equal(one.images, other.images)
