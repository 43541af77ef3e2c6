from __future__ import annotations

import tracemalloc

import numpy as np

from clever.data.moments import SLICE, Moments, moments


def test_streamed_moments_equal_numpy_over_all_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (37, 9, 5, 3), dtype=np.uint8)
    pixels[..., 2] //= 7
    streamed = Moments()
    for start in range(0, 37, 5):
        streamed += moments(pixels[start : start + 5])
    scaled = pixels.astype(np.float64) / 255
    np.testing.assert_allclose(streamed.mean(), scaled.mean(axis=(0, 1, 2)), rtol=1e-13)
    np.testing.assert_allclose(streamed.std(), scaled.std(axis=(0, 1, 2)), rtol=1e-12)


def test_order_and_grouping_do_not_change_the_result() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    backwards = sum((moments(image) for image in pixels[::-1]), Moments())
    assert backwards == moments(pixels)


def test_nearly_constant_pixels_do_not_cancel() -> None:
    # One pixel in a million differs: E[x^2] - E[x]^2 in floating point would lose most of its digits.
    pixels = np.full((1000, 1000, 3), 255, dtype=np.uint8)
    pixels[0, 0] = 254
    expected = np.sqrt(1e-6 * (1 - 1e-6)) / 255
    np.testing.assert_allclose(moments(pixels).std(), [expected] * 3, rtol=1e-14)


def test_constant_pixels_have_no_spread() -> None:
    assert moments(np.full((4, 4, 3), 7, dtype=np.uint8)).std() == (0, 0, 0)


def test_a_photograph_is_not_copied_and_gives_exact_sums() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (2 * SLICE + 1001, 3), dtype=np.uint8).reshape(1, -1, 3)
    values = pixels.reshape(-1, 3).astype(np.int64)  # integers, summed in another way
    tracemalloc.start()
    found = moments(pixels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == Moments(len(values), tuple(values.sum(0).tolist()), tuple((values**2).sum(0).tolist()))
    assert peak < 2 * SLICE * 3 * 8
