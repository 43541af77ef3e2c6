"""Downstream evaluation of a frozen backbone: every protocol turns a backbone and a prepared store into records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clever.evaluation import knn, latents, linear, parameters, relative_colour, relative_rotation, retrieval
from clever.evaluation.features import ExtractionOptions
from clever.results.records import Record


@dataclass(frozen=True)
class Protocol:
    """One way to evaluate a backbone.

    ``evaluate(backbone, ir_dim, store, options, *, run_identity, device, seed)`` takes the protocol's own options and
    returns its records; `clever.evaluation.linear.evaluate` says what each argument means. One that
    ``needs_predictor`` also takes ``predictor``, the run's own or None, and ``told``, what it is told. One that
    ``needs_labels`` cannot serve data without them.
    """

    options: type[ExtractionOptions]
    evaluate: Callable[..., list[Record]]
    needs_predictor: bool = False
    needs_labels: bool = False


PROTOCOLS: dict[str, Protocol] = {
    "linear": Protocol(linear.LinearOptions, linear.evaluate, needs_labels=True),
    "knn": Protocol(knn.KnnOptions, knn.evaluate, needs_labels=True),
    "parameters": Protocol(parameters.ParametersOptions, parameters.evaluate),
    "latents": Protocol(latents.LatentsOptions, latents.evaluate),
    "relative_rotation": Protocol(relative_rotation.RelativeRotationOptions, relative_rotation.evaluate),
    "relative_colour": Protocol(relative_colour.RelativeColourOptions, relative_colour.evaluate),
    "retrieval": Protocol(retrieval.RetrievalOptions, retrieval.evaluate, needs_predictor=True),
}
