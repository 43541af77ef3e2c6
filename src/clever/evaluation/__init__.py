"""Downstream evaluation of a frozen backbone: every protocol turns a backbone and a prepared store into records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clever.evaluation import knn, linear
from clever.evaluation.features import FeatureOptions
from clever.evaluation.records import Record


@dataclass(frozen=True)
class Protocol:
    """One way to evaluate a backbone.

    ``evaluate(backbone, ir_dim, store, options, *, run_identity, device, seed)`` takes the protocol's own options and
    returns its records; `clever.evaluation.linear.evaluate` says what each argument means.
    """

    options: type[FeatureOptions]
    evaluate: Callable[..., list[Record]]


PROTOCOLS: dict[str, Protocol] = {
    "linear": Protocol(linear.LinearOptions, linear.evaluate),
    "knn": Protocol(knn.KnnOptions, knn.evaluate),
}
