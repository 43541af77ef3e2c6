"""Random head outputs, and the comparison of a loss and its gradient with a float64 re-derivation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from clever.baselines import HeadOutput

Loss = Callable[[list[Tensor]], Tensor]


@pytest.fixture(scope="session")
def draw() -> Callable[..., list[Tensor]]:
    """``draw(count, rows, width)``: float64 matrices that share a common part, so that the views of an image are
    similar."""

    def make(count: int, rows: int, width: int, seed: int = 0) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        common = torch.randn(rows, width, generator=generator, dtype=torch.float64)
        own = [torch.randn(rows, width, generator=generator, dtype=torch.float64) for _ in range(count)]
        return [common + noise for noise in own]

    return make


@pytest.fixture(scope="session")
def agree() -> Callable[[Loss, Loss, Sequence[Tensor]], None]:
    """``agree(mine, reference, inputs)``: assert equal values and gradients; ``mine`` runs in float32, the reference in
    float64.

    If one function does not use an input, the other must not use it either.
    """

    def check(mine: Loss, reference: Loss, inputs: Sequence[Tensor]) -> None:
        single = [tensor.detach().float().requires_grad_() for tensor in inputs]
        double = [tensor.detach().double().requires_grad_() for tensor in inputs]
        value, expected = mine(single), reference(double)
        torch.testing.assert_close(value.double().reshape(()), expected.double().reshape(()), rtol=2e-5, atol=1e-6)
        got = torch.autograd.grad(value, single, allow_unused=True)
        want = torch.autograd.grad(expected, double, allow_unused=True)
        for number, (one, other) in enumerate(zip(got, want, strict=True)):
            assert (one is None) == (other is None), f"input {number}"
            if one is not None and other is not None:
                scale = other.abs().max().item()
                assert scale > 1e-9, f"input {number} has no gradient to compare"
                torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=2e-5 * scale)

    return check


@pytest.fixture(scope="session")
def unit_axes() -> Callable[[int, int], list[HeadOutput]]:
    """``unit_axes(views, rows)``: image i is the i-th unit vector in every view, so that images are orthogonal."""

    def make(views: int, rows: int) -> list[HeadOutput]:
        return [HeadOutput(torch.eye(rows, rows + 2)) for _ in range(views)]

    return make
