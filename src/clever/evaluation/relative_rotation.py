"""Protocol ``relative_rotation``: the rotation between two photographs of an object, on 3DIEBench (SIE, eval_*.py).

The target is the unit quaternion of R1^-1 R2, in the order x, y, z, w, with the sign of the product.
"""

from __future__ import annotations

from torch import Tensor

from clever import threediebench
from clever.evaluation.options.relative_rotation import RelativeRotationOptions
from clever.evaluation.relative import evaluate_relative, pooled_r2
from clever.evaluation.subject import Subject
from clever.quaternions import quaternion, relative_quaternion
from clever.results.records import Record


def evaluate(subject: Subject, options: RelativeRotationOptions) -> list[Record]:
    """Records ``r2_rotation`` (1 is perfect; over all four components at once, see `pooled_r2`) for each part.

    Arguments and errors as for `clever.evaluation.relative.evaluate_relative`.
    """
    return evaluate_relative(
        subject,
        options,
        protocol="relative_rotation",
        targets=relative_rotation,
        scores=lambda predictions, targets: {"r2_rotation": pooled_r2(predictions, targets)},
    )


def relative_rotation(first: Tensor, second: Tensor) -> Tensor:
    """Quaternions float32 [N, 4] from latents [N, 7] of the first and of the second photographs."""
    rotations = (quaternion(latents[:, threediebench.ROTATION].double()) for latents in (first, second))
    return relative_quaternion(*rotations).float()
