"""TokenCut and LOST: compute the mask of an image's single salient object from the features of its patches.

Features float [rows, columns, D] are the keys of a ViT's last block or the vectors of a last map; masks are bool [rows,
columns]. Connected components use 4 neighbours.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from scipy.linalg import eigh
from torch import Tensor

Method = Literal["tokencut", "lost"]

WEAK_EDGE = 1e-5
"""TokenCut's weight of an edge between dissimilar patches, which keeps the graph connected."""


def token_cut(features: Tensor, threshold: float = 0.2) -> NDArray[np.bool_]:
    """Find the object by a normalised cut (Wang et al. 2022, TokenCut's object_discovery.py).

    The edge between two patches has weight 1 if their cosine exceeds ``threshold``, otherwise 1e-5. The eigenvector of
    the second smallest eigenvalue of (D - A) x = l D x is cut at its mean. Its largest absolute entry is the seed, and
    the seed's side is the foreground. Only the connected component that contains the seed is kept.

    Args:
        features: [rows, columns, D], not normalised.
        threshold: cosine, the authors' tau.
    """
    affinity = binary_affinity(features, threshold)
    vector = second_eigenvector(affinity)
    seed = int(np.abs(vector).argmax())
    foreground = vector > vector.mean()
    if not foreground[seed]:
        foreground = ~foreground
    return component_of(foreground.reshape(features.shape[:2]), seed)


def lost(features: Tensor, candidates: int = 100) -> NDArray[np.bool_]:
    """Find the object by similarity to the patch that resembles the fewest others (Siméoni et al. 2021, LOST).

    A patch's degree is the number of patches with which its inner product is positive. The patch with the lowest degree
    is the seed. Among the patches with the ``candidates`` lowest degrees, those with a positive product with the seed
    join it. The mask contains the patches whose products with all of these sum to a positive number; only the connected
    component that contains the seed is kept. For equal degrees, the first patch is taken.

    Args:
        features: [rows, columns, D], not normalised.
        candidates: number of patches that may join the seed.
    """
    flat = features.flatten(0, 1).double()
    products = (flat @ flat.t()).cpu().numpy()
    positive = products > 0
    np.fill_diagonal(positive, False)
    order = np.argsort(positive.sum(axis=1), kind="stable")
    seed = int(order[0])
    joined = [patch for patch in order[:candidates] if patch == seed or products[seed, patch] > 0]
    mask = products[joined].sum(axis=0) > 0
    mask[seed] = True  # a zero feature has no positive product, not even with itself
    return component_of(mask.reshape(features.shape[:2]), seed)


def binary_affinity(features: Tensor, threshold: float) -> NDArray[np.float64]:
    """TokenCut's graph of features [rows, columns, D]: float64 [T, T], 1 where the cosine exceeds ``threshold``."""
    unit = F.normalize(features.flatten(0, 1).double(), dim=1)
    cosines = (unit @ unit.t()).cpu().numpy()
    return np.where(cosines > threshold, 1.0, WEAK_EDGE)


def second_eigenvector(affinity: NDArray[np.float64]) -> NDArray[np.float64]:
    """The eigenvector [T] of the second smallest eigenvalue of (D - A) x = l D x; its sign is arbitrary."""
    degrees = affinity.sum(axis=1)
    # Combine D - A and D into one symmetric matrix, D^-1/2 (D - A) D^-1/2, whose eigenvectors are D^1/2 x.
    root = 1.0 / np.sqrt(degrees)
    laplacian = -(root[:, None] * affinity * root[None, :])
    laplacian[np.diag_indices(len(laplacian))] += 1.0
    _, vectors = eigh(laplacian, subset_by_index=[1, 1], check_finite=True)
    vector: NDArray[np.float64] = root * vectors[:, 0]
    return vector


def component_of(mask: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    """The part of mask [rows, columns] that is connected to the flat index ``seed``."""
    labels, _ = ndimage.label(mask)
    component: NDArray[np.bool_] = labels == labels.flat[seed]
    return component
