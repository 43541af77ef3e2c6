"""Protocol ``relative_colour``: the change of colours between two photographs of an object, on 3DIEBench (SIE).

The targets are the differences (second minus first) of the floor's hue and of the light's hue.
"""

from __future__ import annotations

from torch import Tensor

from clever import threediebench
from clever.evaluation.options.relative_colour import RelativeColourOptions
from clever.evaluation.regression import r2
from clever.evaluation.relative import evaluate_relative, pooled_r2
from clever.evaluation.subject import Subject
from clever.results.records import Record


def evaluate(subject: Subject, options: RelativeColourOptions) -> list[Record]:
    """Records ``r2_colour`` (1 is perfect; over both differences at once), ``r2_floor_hue`` and ``r2_light_hue``.

    Arguments and errors as for `clever.evaluation.relative.evaluate_relative`.
    """
    return evaluate_relative(
        subject,
        options,
        protocol="relative_colour",
        targets=relative_colour,
        scores=_scores,
    )


def relative_colour(first: Tensor, second: Tensor) -> Tensor:
    """Differences of floor hue and light hue, float32 [N, 2], from latents [N, 7] of both photographs."""
    columns = [threediebench.FLOOR_HUE, threediebench.LIGHT_HUE]
    return (second[:, columns] - first[:, columns]).float()


def _scores(predictions: Tensor, targets: Tensor) -> dict[str, float]:
    floor, light = r2(predictions, targets).tolist()
    return {"r2_colour": pooled_r2(predictions, targets), "r2_floor_hue": floor, "r2_light_hue": light}
