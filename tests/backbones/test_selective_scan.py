"""The chunked scan against a float64 loop over positions that follows the definition."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from clever.backbones.selective_scan import linear_recurrence, selective_scan

NAMES = ("u", "step", "a", "b", "c", "d", "step_bias")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make(
    length: int, groups: int = 2, n: int = 2, channels: int = 3, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    sequence = (groups, n, length)
    rate = -(0.5 + torch.rand(groups, channels, generator=generator, dtype=torch.float64)).to(dtype)
    return [
        normal(*sequence, channels),
        normal(*sequence, channels),
        rate,
        normal(*sequence),
        normal(*sequence),
        normal(groups, channels),
        normal(groups, channels) - 4,
    ]


def naive(arguments: list[Tensor], reverse: bool = False) -> Tensor:
    """Process one position after the other, as in the definition, in float64."""
    u, step, a, b, c, d, step_bias = (tensor.double() for tensor in arguments)
    delta = torch.log1p(torch.exp(step + step_bias[:, None, None]))
    positions = range(u.shape[2])
    y: dict[int, Tensor] = {}
    h = torch.zeros_like(u[:, :, 0])
    for i in reversed(positions) if reverse else positions:
        h = torch.exp(delta[:, :, i] * a[:, None]) * h + delta[:, :, i] * b[:, :, i, None] * u[:, :, i]
        y[i] = c[:, :, i, None] * h + d[:, None] * u[:, :, i]
    return torch.stack([y[i] for i in positions], dim=2)


def gradients(y: Tensor, arguments: list[Tensor]) -> list[Tensor]:
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return list(torch.autograd.grad((y.double() * weights).sum(), arguments))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("length", "chunk"),
    [
        (1, None),
        (2, 1),
        (9, None),
        (9, 4),
        (36, 6),
        (49, 8),
        (144, 12),
        (196, 196),
        (576, 25),
        (784, 28),
        (3136, None),
        (3136, 56),
    ],
)
def test_values_and_gradients(length: int, chunk: int | None, reverse: bool) -> None:
    arguments = [tensor.requires_grad_() for tensor in make(length)]
    expected = naive(arguments, reverse)
    found = selective_scan(*arguments, reverse=reverse, chunk=chunk)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    for name, ours, theirs in zip(NAMES, gradients(found, arguments), gradients(expected, arguments), strict=True):
        scale = theirs.abs().max().item()
        assert (ours - theirs).abs().max().item() <= 2e-5 * scale, name


@pytest.mark.parametrize("chunk", [None, 5])
@pytest.mark.parametrize("reverse", [False, True])
def test_first_and_second_derivatives(reverse: bool, chunk: int | None) -> None:
    arguments = [t.requires_grad_() for t in make(7, groups=1, n=2, channels=2, dtype=torch.float64)]

    def scan(*tensors: Tensor) -> Tensor:
        return selective_scan(*tensors, reverse=reverse, chunk=chunk)

    assert scan(*arguments).dtype == torch.float64
    assert torch.autograd.gradcheck(scan, arguments)
    assert torch.autograd.gradgradcheck(scan, arguments)


def test_gradient_with_and_without_a_graph_agree() -> None:
    arguments = [t.requires_grad_() for t in make(20, dtype=torch.float64)]
    y = selective_scan(*arguments, chunk=6).square().sum()
    plain = torch.autograd.grad(y, arguments, retain_graph=True)
    with_graph = torch.autograd.grad(y, arguments, create_graph=True)
    for first, second in zip(plain, with_graph, strict=True):
        torch.testing.assert_close(first, second)


def test_only_inputs_that_require_a_gradient_get_one() -> None:
    arguments = make(12)
    arguments[3].requires_grad_()
    [grad] = gradients(selective_scan(*arguments), [arguments[3]])
    [expected] = gradients(naive(arguments), [arguments[3]])
    torch.testing.assert_close(grad, expected.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunk", [None, 28])
def test_bfloat16_under_autocast(chunk: int | None) -> None:
    """The scan itself adds no bfloat16 rounding: on the same bfloat16 inputs, it equals the float64 loop to float32
    accuracy."""
    arguments = [t.requires_grad_() for t in make(784)]
    coarse = [t.detach().bfloat16().requires_grad_() if i in (0, 1, 3, 4) else t for i, t in enumerate(arguments)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = selective_scan(*coarse, chunk=chunk)
    expected = naive(coarse)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    for ours, theirs, argument in zip(gradients(found, coarse), gradients(expected, coarse), coarse, strict=True):
        assert ours.dtype == argument.dtype
        tolerance = 2**-8 if argument.dtype == torch.bfloat16 else 2e-5
        assert (ours.double() - theirs.double()).abs().max() < tolerance * theirs.abs().max()


@pytest.mark.parametrize("chunk", [None, 56])
@pytest.mark.parametrize("bias", [-100.0, 0.0, 60.0])
def test_extreme_steps_stay_finite(bias: float, chunk: int | None) -> None:
    """Steps of 60 over 3,136 positions: the exponential of the summed decay would be exp(188,160)."""
    arguments = [t.requires_grad_() for t in make(3136)]
    with torch.no_grad():
        arguments[-1].fill_(bias)
    y = selective_scan(*arguments, chunk=chunk)
    torch.testing.assert_close(y.double(), naive(arguments), rtol=1e-4, atol=1e-4)
    y.sum().backward()
    assert all(torch.isfinite(t.grad).all() for t in arguments)


def test_nothing_is_forgotten_without_decay() -> None:
    """With decay 1, the recurrence is a running sum across all chunk boundaries."""
    x = torch.randn(2, 101, 4, dtype=torch.float64)
    for chunk in (None, 1, 7, 50, 101, 200):
        ones = torch.ones_like(x)
        torch.testing.assert_close(linear_recurrence(ones, x, chunk=chunk), x.cumsum(1))
        torch.testing.assert_close(linear_recurrence(ones, x, reverse=True, chunk=chunk), x.flip(1).cumsum(1).flip(1))


def test_inputs_are_unchanged() -> None:
    arguments = make(30)
    before = [tensor.clone() for tensor in arguments]
    selective_scan(*arguments, chunk=7)
    assert all(torch.equal(a, b) for a, b in zip(arguments, before, strict=True))
