"""The fast bilateral solver (Barron & Poole 2016), which aligns a coarse mask with the edges of its image.

Pixels with similar position and colour share a vertex of a five-dimensional grid. The solution is smooth over
neighbouring vertices and close to the target:

    minimise  lambda * y' (Dm - Dn B Dn) y + sum over pixels of c (y - t)^2

where B is the blur [1 2 1] along each of the five axes, and Dn and Dm make it bistochastic. TokenCut's settings are the
defaults (its bilateral_solver.py): 16 px, luma 16, chroma 8, lambda 256, confidence 0.999.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import cg

Array = NDArray[np.float64]

_YUV = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
"""The matrix from RGB to JPEG's luma and chroma; all are in [0, 255] after shifting the chroma by 128."""
_BISTOCHASTIC_STEPS = 10
_SMALLEST_DIAGONAL = 1e-5


class BilateralGrid:
    """The vertices that the pixels of an image share.

    Args:
        image: uint8 [H, W, 3], RGB.
        spatial, luma, chroma: width of a cell in pixels, in levels of Y, and in levels of U and V.
    """

    def __init__(
        self, image: NDArray[np.uint8], spatial: float = 16.0, luma: float = 16.0, chroma: float = 8.0
    ) -> None:
        height, width = image.shape[:2]
        yuv = image.astype(np.float64) @ _YUV.T + np.array([0.0, 128.0, 128.0])
        y, x = np.mgrid[:height, :width]
        axes = [x / spatial, y / spatial, yuv[..., 0] / luma, yuv[..., 1] / chroma, yuv[..., 2] / chroma]
        cells = np.stack([axis.astype(np.int64).ravel() for axis in axes], axis=1)
        # One number per cell, with an empty cell at both ends of each axis, so that neighbours never wrap around.
        strides = np.cumprod([1, *(cells.max(axis=0)[:-1] + 3)])
        numbers, where = np.unique((cells + 1) @ strides, return_inverse=True)
        self.vertices = len(numbers)
        pixels = height * width
        self.splat = sparse.csr_matrix((np.ones(pixels), (where.ravel(), np.arange(pixels))), (self.vertices, pixels))
        """[vertices, pixels]: adds up the pixels of each vertex; its transpose hands a vertex's value to its pixels."""
        blur = sparse.identity(self.vertices, format="csr") * (2.0 * len(axes))
        for stride in strides:
            for step in (-stride, stride):
                place = np.minimum(np.searchsorted(numbers, numbers + step), self.vertices - 1)
                present = np.flatnonzero(numbers[place] == numbers + step)
                ones = np.ones(len(present))
                blur = blur + sparse.csr_matrix((ones, (present, place[present])), (self.vertices, self.vertices))
        self.blur = blur
        """[vertices, vertices], symmetric: 2 a vertex and axis, and 1 for each neighbour."""

    def smoothness(self) -> sparse.csr_matrix:
        """Dm - Dn B Dn [vertices, vertices]: rows sum to 0, so a constant has no cost."""
        mass = np.asarray(self.splat.sum(axis=1)).ravel()
        scale = np.ones(self.vertices)
        for _ in range(_BISTOCHASTIC_STEPS):
            scale = np.sqrt(scale * mass / (self.blur @ scale))
        # For any number of steps, the mass is corrected to match the scale.
        mass = scale * (self.blur @ scale)
        scaled = sparse.diags(scale)
        return (sparse.diags(mass) - scaled @ self.blur @ scaled).tocsr()


def solve(
    image: NDArray[np.uint8],
    target: NDArray[np.floating],
    *,
    confidence: float | Array = 0.999,
    smoothing: float = 256.0,
    spatial: float = 16.0,
    luma: float = 16.0,
    chroma: float = 8.0,
    iterations: int = 25,
    tolerance: float = 1e-5,
) -> Array:
    """Smooth ``target`` within the edges of ``image``.

    Args:
        image: uint8 [H, W, 3], RGB.
        target: float [H, W], for a mask in [0, 1].
        confidence: c of every pixel, or [H, W].
        smoothing: lambda.
        spatial, luma, chroma: as for :class:`BilateralGrid`.
        iterations, tolerance: limits of conjugate gradients with the diagonal as preconditioner. As in TokenCut, an
            unconverged solution after ``iterations`` is accepted.

    Returns:
        float64 [H, W], a soft mask approximately in the range of the target.
    """
    grid = BilateralGrid(image, spatial, luma, chroma)
    weights = np.broadcast_to(np.asarray(confidence, dtype=np.float64), target.shape).ravel()
    weight = grid.splat @ weights
    right = grid.splat @ (weights * target.astype(np.float64).ravel())
    matrix = (smoothing * grid.smoothness() + sparse.diags(weight)).tocsr()
    preconditioner = sparse.diags(1.0 / np.maximum(matrix.diagonal(), _SMALLEST_DIAGONAL))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # 0 / 0 if the target is an exact solution at the start
        start = np.divide(right, weight, out=np.zeros_like(right), where=weight > 0)
        solution, _ = cg(matrix, right, x0=start, rtol=tolerance, maxiter=iterations, M=preconditioner)
    return np.asarray(grid.splat.T @ solution).reshape(target.shape)
