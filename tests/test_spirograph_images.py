from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from clever import spirograph
from clever.randomness import make_generator
from clever.spirograph_images import draw, render, standardise


def parameters(count: int, seed: int = 0) -> Tensor:
    return draw(count, make_generator(seed, "test"))


def plain(row: Tensor) -> list[list[list[float]]]:
    """One image [3][32][32], computed with the formula in Foster et al.'s code, in plain loops."""
    m, b, sigma, rfore, h, rback, gfore, gback, bfore, bback = row.tolist()
    fixed = m + b - h  # radius of the fixed circle; b is the radius of the rolling circle
    points = []
    for j in range(40):
        t = 2 * math.pi * j / 39
        points.append(
            (
                (fixed - b) * math.cos(t) + h * math.cos((fixed - b) / b * t),
                (fixed - b) * math.sin(t) - h * math.sin((fixed - b) / b * t),
            )
        )
    grid = [-6 + 12 * p / 31 for p in range(32)]
    density = [
        [sum(math.exp(-((u - x) ** 2 + (w - y) ** 2) / sigma) for x, y in points) / 40 for w in grid] for u in grid
    ]
    largest = max(map(max, density))
    share = [[value / (largest + 1e-8) for value in line] for line in density]
    colours = ((rfore, rback), (gfore, gback), (bfore, bback))
    return [[[v * fore + (1 - v) * back for v in line] for line in share] for fore, back in colours]


def test_images_equal_the_formula_in_plain_loops() -> None:
    rows = parameters(6)
    # The pen is outside the rolling circle's path: R = m - h is negative.
    rows[0, 0], rows[0, 4] = 2.0, 2.4
    expected = torch.tensor([plain(row) for row in rows], dtype=torch.float64)
    torch.testing.assert_close(render(rows), expected, rtol=1e-12, atol=1e-12)
    # float32 holds an angle of up to 2 pi R / b = 300 to about 1e-5.
    torch.testing.assert_close(render(rows.float()), expected.float(), rtol=0, atol=1e-4)


def test_rows_are_the_first_coordinate() -> None:
    row = parameters(1)
    row[0, 4] = 1e-9  # with pen distance 0, the curve is a circle of radius m, whose first and last points coincide
    image = render(row)[0, 0]
    # x = m, y = 0 occurs twice, so the densest pixel is below the middle row, in the middle columns.
    brightest = int((image - row[0, 5]).abs().argmax())
    assert brightest // 32 > 20
    assert brightest % 32 in (15, 16)


def test_first_and_second_gradients_equal_finite_differences() -> None:
    rows = parameters(2, seed=1).requires_grad_()
    weights = torch.randn(2, 3, 32, 32, generator=make_generator(0, "weights"), dtype=torch.float64)

    def weighted(values: Tensor) -> Tensor:
        return (render(values) * weights).sum((1, 2, 3))

    assert torch.autograd.gradcheck(weighted, rows)
    assert torch.autograd.gradgradcheck(weighted, rows)


def test_autocast_has_no_effect() -> None:
    rows = parameters(3).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(render(rows), render(rows.clone()))
        found = render(rows)
    assert found.dtype == torch.float32
    assert torch.equal(found, render(rows))


def test_draws_fill_their_ranges_evenly() -> None:
    drawn = parameters(20000)
    assert drawn.dtype == torch.float64
    for name, column in zip(spirograph.NAMES, drawn.unbind(1), strict=True):
        low, high = spirograph.RANGES[name]
        share = ((column - low) / (high - low)).sort().values
        assert share[0] >= 0
        assert share[-1] <= 1
        # Kolmogorov's statistic is below 1.95 / sqrt(n) with probability 0.999.
        assert (share - torch.arange(20000) / 20000).abs().max() < 1.95 / math.sqrt(20000), name
    correlations = torch.corrcoef(drawn.T) - torch.eye(10)
    assert correlations.abs().max() < 0.03


def test_a_larger_number_of_rows_begins_with_the_same_rows() -> None:
    assert torch.equal(parameters(100)[:7], parameters(7))
    some = draw(5, make_generator(0, "test"), ("h", "m"))
    assert some.shape == (5, 2)
    assert (some[:, 0] <= 2.5).all()
    assert (some[:, 1] >= 2.0).all()


def test_standardised_ends_of_a_uniform_are_root_three_away() -> None:
    values = torch.tensor([[2.0, 0.5], [5.0, 2.5], [3.5, 1.5]], dtype=torch.float64)
    expected = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]], dtype=torch.float64) * math.sqrt(3)
    torch.testing.assert_close(standardise(values, ("m", "h")), expected)


def test_the_ten_numbers_are_divided_as_in_the_paper() -> None:
    assert (*spirograph.OF_INTEREST, *spirograph.NUISANCES) == spirograph.NAMES == tuple(spirograph.RANGES)
    assert spirograph.OF_INTEREST == ("m", "b", "sigma", "rfore")


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \[N, 10\], not \[4, 9\]"):
        render(torch.zeros(4, 9))
