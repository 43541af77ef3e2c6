"""Rotations of 3DIEBench's objects as unit quaternions, and the rotation between two of them.

Quaternions are in the order x, y, z, w, as SIE's code (Garrido, Najman and LeCun, ICML 2023) gets them from SciPy; the
sign of a relative rotation is that of the quaternion product.
"""

from __future__ import annotations

import torch
from torch import Tensor


def quaternion(angles: Tensor) -> Tensor:
    """Convert rotations by extrinsic x, y, z angles [N, 3] in radians to unit quaternions [N, 4] in the order x, y, z,
    w."""
    (sx, sy, sz), (cx, cy, cz) = (angles / 2).sin().unbind(1), (angles / 2).cos().unbind(1)
    return torch.stack(
        [
            cz * cy * sx - sz * sy * cx,
            cz * sy * cx + sz * cy * sx,
            sz * cy * cx - cz * sy * sx,
            cz * cy * cx + sz * sy * sx,
        ],
        1,
    )


def relative_quaternion(first: Tensor, second: Tensor) -> Tensor:
    """The relative rotation R1^-1 R2 [N, 4] of two sets of unit quaternions [N, 4] (x, y, z, w)."""
    vector_1, scalar_1 = first[:, :3], first[:, 3:]
    vector_2, scalar_2 = second[:, :3], second[:, 3:]
    # The inverse of a unit quaternion is its conjugate, so the vector part of the first one changes its sign.
    vector = scalar_1 * vector_2 - scalar_2 * vector_1 - torch.linalg.cross(vector_1, vector_2, dim=1)
    scalar = scalar_1 * scalar_2 + (vector_1 * vector_2).sum(1, keepdim=True)
    return torch.cat([vector, scalar], 1)
