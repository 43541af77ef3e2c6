"""How to read the values of a metric: their decimals, their unit, and which direction is better."""

from __future__ import annotations

from collections.abc import Iterable

from names import METRICS, PROTOCOLS

MAIN_PROTOCOLS = ("linear", "knn", "logistic", "semi", "transfer", "latents")
"""The protocols that can fill a study's main table, in order of preference."""
MAIN_METRICS = ("top1", "mean_class", "mean_mse", "j_and_f", "box_ap", "r2_angle", "relative_distance")
"""The metrics that can be a protocol's main metric, in order of preference."""
MAIN_PERTURBATIONS = ("orig", "views")


METRIC_NAMES = {
    **METRICS,
    "mean_class": "mean accuracy per class",
    "mean_mse": "mean squared error",
    "j_and_f": "J&F",
    "box_ap": "box AP",
}


def metric_name(metric: str) -> str:
    """A metric in words, or its own name if it has no words."""
    return METRIC_NAMES.get(metric, metric)


def decimals(metric: str) -> int:
    """How many decimals are shown: 1 for percentages, 3 for fractions such as R² and for distances, 4 for squared
    errors."""
    if "mse" in metric:
        return 4
    return 3 if metric.startswith(("r2_", "mrr", "hit_at_", "pre_", "relative_")) else 1


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value is better, as for squared errors and the decay of a video's masks."""
    return "mse" in metric or metric.endswith("_decay")


def unit(metric: str) -> str:
    """The unit of a difference of two values."""
    if "mse" in metric:
        return "squared units"
    return "points" if decimals(metric) == 1 else "R²" if metric.startswith("r2_") else "of 1"


def family(protocol: str) -> str:
    """The protocol of a variant: ``latents`` of ``latents+averaged``, ``knn`` of ``knn20``."""
    name = protocol.partition("+")[0]
    plain = name.rstrip("0123456789")
    return plain if plain in MAIN_PROTOCOLS or plain in PROTOCOLS else name


def protocol_rank(protocol: str) -> tuple[object, ...]:
    """Sort key: the main protocols first, then those with a known name, then the others, each by name."""
    name = family(protocol)
    names = list(dict.fromkeys((*MAIN_PROTOCOLS, *PROTOCOLS)))
    return (names.index(name) if name in names else len(names), protocol)


def main_metric(metrics: Iterable[str]) -> str:
    """The main metric of a protocol, out of those on record."""
    return min(metrics, key=metric_rank)


def metric_rank(metric: str) -> tuple[int, str]:
    """Sort key: the main metrics first, then the others by name."""
    return (MAIN_METRICS.index(metric) if metric in MAIN_METRICS else len(MAIN_METRICS), metric)
