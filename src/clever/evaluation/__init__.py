"""Downstream evaluation of a frozen backbone: every protocol turns a backbone and a prepared store into records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

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
    stages,
    transfer,
)
from clever.evaluation.detection import protocol as detection
from clever.evaluation.equivariance import protocol as equivariance
from clever.evaluation.options import ProtocolOptions
from clever.evaluation.quality import protocol as quality
from clever.evaluation.saliency import protocol as saliency
from clever.evaluation.subject import Subject
from clever.evaluation.video import protocol as video
from clever.results.records import Record

_Options = TypeVar("_Options", bound=ProtocolOptions)


@dataclass(frozen=True)
class Protocol(Generic[_Options]):
    """One way to evaluate a backbone.

    ``evaluate(subject, options)`` takes the protocol's own options and returns its records, which it makes with
    ``subject.record``. For a protocol that ``needs_predictor``, the job loads the run's predictor, if it has one; for
    one that ``needs_earlier``, the backbones of the earlier runs of its chain. A protocol that ``needs_labels`` cannot
    serve data without them, one that ``needs_latents`` data without the parameters that generated the images, and one
    that ``needs_objects`` data without several images of every object. One that ``needs_map`` cannot serve a backbone
    without a last map; the control ``pixels`` then has no records. ``packages`` are the packages that it imports
    besides those that the library needs (the extra ``evaluation``). One with ``pictures`` keeps some for figures: the
    job writes them to ``<protocol>.npz``.
    """

    options: type[_Options]
    evaluate: Callable[[Subject, _Options], list[Record]]
    needs_predictor: bool = False
    needs_earlier: bool = False
    needs_labels: bool = False
    needs_latents: bool = False
    needs_objects: bool = False
    needs_map: bool = False
    pictures: bool = False
    packages: tuple[str, ...] = ()


PROTOCOLS: dict[str, Protocol[Any]] = {
    "linear": Protocol(linear.LinearOptions, linear.evaluate, needs_labels=True),
    "stages": Protocol(stages.StagesOptions, stages.evaluate, needs_earlier=True, needs_labels=True),
    "knn": Protocol(knn.KnnOptions, knn.evaluate, needs_labels=True),
    "logistic": Protocol(logistic.LogisticOptions, logistic.evaluate, needs_labels=True),
    "semi": Protocol(semi.SemiOptions, semi.evaluate, needs_labels=True),
    "transfer": Protocol(transfer.TransferOptions, transfer.evaluate, needs_labels=True),
    "corruption": Protocol(
        corruption.CorruptionOptions,
        corruption.evaluate,
        needs_labels=True,
        packages=("imagecorruptions",),
    ),
    "saliency": Protocol(saliency.SaliencyOptions, saliency.evaluate, needs_map=True, pictures=True),
    "video": Protocol(video.VideoOptions, video.evaluate, needs_map=True, pictures=True),
    "attention": Protocol(
        attention.AttentionOptions,
        attention.evaluate,
        needs_map=True,
        pictures=True,
        packages=("captum",),
    ),
    "detection": Protocol(
        detection.DetectionOptions,
        detection.evaluate,
        needs_map=True,
        packages=("faster_coco_eval",),
    ),
    "parameters": Protocol(parameters.ParametersOptions, parameters.evaluate),
    "latents": Protocol(latents.LatentsOptions, latents.evaluate, needs_latents=True),
    "equivariance": Protocol(equivariance.EquivarianceOptions, equivariance.evaluate),
    "quality": Protocol(quality.QualityOptions, quality.evaluate),
    "relative_rotation": Protocol(
        relative_rotation.RelativeRotationOptions, relative_rotation.evaluate, needs_objects=True
    ),
    "relative_colour": Protocol(relative_colour.RelativeColourOptions, relative_colour.evaluate, needs_objects=True),
    "retrieval": Protocol(retrieval.RetrievalOptions, retrieval.evaluate, needs_predictor=True, needs_objects=True),
}
