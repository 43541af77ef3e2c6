"""The bilateral solver against its dense normal equations, and its purpose: a mask that follows an edge."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from clever.evaluation.saliency.bilateral_solver import BilateralGrid, solve


def noise_image(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def dense(image: NDArray[np.uint8], spatial: float, luma: float, chroma: float) -> tuple[NDArray, NDArray]:
    """The grid's splat and blur as dense matrices, built cell by cell."""
    r, g, b = np.moveaxis(image.astype(float), 2, 0)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    u = -0.168736 * r - 0.331264 * g + 0.5 * b + 128
    v = 0.5 * r - 0.418688 * g - 0.081312 * b + 128
    cells = [
        (int(j / spatial), int(i / spatial), int(y[i, j] / luma), int(u[i, j] / chroma), int(v[i, j] / chroma))
        for i, j in itertools.product(range(image.shape[0]), range(image.shape[1]))
    ]
    known = {cell: number for number, cell in enumerate(sorted(set(cells)))}
    splat = np.zeros((len(known), len(cells)))
    for pixel, cell in enumerate(cells):
        splat[known[cell], pixel] = 1
    blur = 10.0 * np.eye(len(known))
    for first, second in itertools.product(known, known):
        if sum(abs(a - b) for a, b in zip(first, second, strict=True)) == 1:
            blur[known[first], known[second]] = 1
    return splat, blur


def test_the_grid_equals_one_built_cell_by_cell() -> None:
    image = noise_image(12, 15)
    grid = BilateralGrid(image, spatial=4, luma=40, chroma=40)
    splat, blur = dense(image, 4, 40, 40)
    # Vertices may be numbered in another order, so compare quantities that do not depend on the order.
    np.testing.assert_array_equal((grid.splat.T @ grid.splat).toarray(), splat.T @ splat)
    np.testing.assert_array_equal((grid.splat.T @ grid.blur @ grid.splat).toarray(), splat.T @ blur @ splat)


def test_the_solution_solves_the_dense_normal_equations() -> None:
    image = noise_image(12, 15)
    target = (np.random.default_rng(1).random((12, 15)) > 0.5).astype(float)
    splat, blur = dense(image, 4, 40, 40)
    mass = splat.sum(axis=1)
    scale = np.ones(len(mass))
    for _ in range(10):
        scale = np.sqrt(scale * mass / (blur @ scale))
    smooth = np.diag(scale * (blur @ scale)) - np.diag(scale) @ blur @ np.diag(scale)
    matrix = 256 * smooth + np.diag(splat @ np.full(180, 0.999))
    expected = splat.T @ np.linalg.solve(matrix, splat @ (0.999 * target.ravel()))
    found = solve(image, target, spatial=4, luma=40, chroma=40, iterations=2000, tolerance=1e-12)
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-8)


def test_a_constant_stays_and_an_image_without_edges_is_solved() -> None:
    constant = np.full((20, 30), 0.7)
    np.testing.assert_allclose(solve(noise_image(20, 30), constant), constant, atol=1e-6)
    grey = np.full((20, 30, 3), 128, dtype=np.uint8)
    assert np.isfinite(solve(grey, (np.arange(600).reshape(20, 30) % 2).astype(float))).all()


def test_a_coarse_mask_follows_the_edge_of_the_object() -> None:
    """A dark disc on a light background; the mask is off by up to a patch of 16 px."""
    y, x = np.mgrid[:128, :160]
    disc = (y - 60) ** 2 + (x - 80) ** 2 < 35**2
    image = np.where(disc[..., None], 40, 210).astype(np.uint8).repeat(3, axis=2)
    coarse = disc[8::16, 8::16].repeat(16, axis=0).repeat(16, axis=1)
    refined = solve(image, coarse.astype(float)) > 0.5

    def iou(mask: NDArray[np.bool_]) -> float:
        return float((mask & disc).sum() / (mask | disc).sum())

    assert iou(coarse) < 0.9
    assert iou(refined) > 0.97
