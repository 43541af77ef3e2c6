"""Downstream evaluation of a frozen backbone: every protocol turns a backbone and a prepared store into records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clever.evaluation import (
    attention,
    corruption,
    knn,
    latents,
    linear,
    logistic,
    parameters,
    relative_colour,
    relative_rotation,
    retrieval,
    semi,
)
from clever.evaluation.detection import protocol as detection
from clever.evaluation.options import ProtocolOptions
from clever.evaluation.saliency import protocol as saliency
from clever.evaluation.video import protocol as video
from clever.results.records import Record


@dataclass(frozen=True)
class Protocol:
    """One way to evaluate a backbone.

    ``evaluate(backbone, ir_dim, store, options, *, run_identity, device, seed)`` takes the protocol's own options and
    returns its records; `clever.evaluation.linear.evaluate` explains each argument. One that
    ``takes_subject`` is ``evaluate(subject, options)`` instead. One that ``needs_predictor`` also takes ``predictor``,
    the run's own or None, and ``told``, its inputs. One that ``needs_labels`` cannot serve data without them, one
    that ``needs_map`` no backbone without a last map; the control ``pixels`` then has no records. ``packages`` are
    packages that it imports in addition to the library's (the extra ``evaluation``).
    """

    options: type[ProtocolOptions]
    evaluate: Callable[..., list[Record]]
    needs_predictor: bool = False
    needs_labels: bool = False
    needs_map: bool = False
    takes_subject: bool = False
    packages: tuple[str, ...] = ()


PROTOCOLS: dict[str, Protocol] = {
    "linear": Protocol(linear.LinearOptions, linear.evaluate, needs_labels=True),
    "knn": Protocol(knn.KnnOptions, knn.evaluate, needs_labels=True),
    "logistic": Protocol(logistic.LogisticOptions, logistic.evaluate, needs_labels=True, takes_subject=True),
    "semi": Protocol(semi.SemiOptions, semi.evaluate, needs_labels=True, takes_subject=True),
    "corruption": Protocol(
        corruption.CorruptionOptions,
        corruption.evaluate,
        needs_labels=True,
        takes_subject=True,
        packages=("imagecorruptions",),
    ),
    "saliency": Protocol(saliency.SaliencyOptions, saliency.evaluate, needs_map=True, takes_subject=True),
    "video": Protocol(video.VideoOptions, video.evaluate, needs_map=True, takes_subject=True),
    "attention": Protocol(
        attention.AttentionOptions, attention.evaluate, needs_map=True, takes_subject=True, packages=("captum",)
    ),
    "detection": Protocol(
        detection.DetectionOptions,
        detection.evaluate,
        needs_map=True,
        takes_subject=True,
        packages=("faster_coco_eval",),
    ),
    "parameters": Protocol(parameters.ParametersOptions, parameters.evaluate),
    "latents": Protocol(latents.LatentsOptions, latents.evaluate),
    "relative_rotation": Protocol(relative_rotation.RelativeRotationOptions, relative_rotation.evaluate),
    "relative_colour": Protocol(relative_colour.RelativeColourOptions, relative_colour.evaluate),
    "retrieval": Protocol(retrieval.RetrievalOptions, retrieval.evaluate, needs_predictor=True),
}
