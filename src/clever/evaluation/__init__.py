"""Downstream evaluation of a frozen backbone: every protocol turns a backbone and a prepared store into records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from clever.evaluation.options.attention import AttentionOptions
from clever.evaluation.options.corruption import CorruptionOptions
from clever.evaluation.options.detection import DetectionOptions
from clever.evaluation.options.equivariance import EquivarianceOptions
from clever.evaluation.options.knn import KnnOptions
from clever.evaluation.options.latents import LatentsOptions
from clever.evaluation.options.linear import LinearOptions
from clever.evaluation.options.logistic import LogisticOptions
from clever.evaluation.options.parameters import ParametersOptions
from clever.evaluation.options.protocol import ProtocolOptions
from clever.evaluation.options.quality import QualityOptions
from clever.evaluation.options.relative_colour import RelativeColourOptions
from clever.evaluation.options.relative_rotation import RelativeRotationOptions
from clever.evaluation.options.retrieval import RetrievalOptions
from clever.evaluation.options.saliency import SaliencyOptions
from clever.evaluation.options.semi import SemiOptions
from clever.evaluation.options.stages import StagesOptions
from clever.evaluation.options.transfer import TransferOptions
from clever.evaluation.options.video import VideoOptions
from clever.implementation import implementation

if TYPE_CHECKING:
    from clever.evaluation.subject import Subject
    from clever.results.records import Record

_Options = TypeVar("_Options", bound=ProtocolOptions)


@dataclass(frozen=True)
class Protocol(Generic[_Options]):
    """One way to evaluate a backbone.

    ``path``, "<module>:<name>", names its function ``evaluate(subject, options)``, which takes the protocol's options
    and returns records made with ``subject.record``. The module needs torch and is imported on first use, because
    reading a study needs only the options. For a protocol with ``needs_predictor``, the job loads the run's predictor,
    if there is one; with ``needs_earlier``, it loads the backbones of the earlier runs of its chain. A protocol with
    ``needs_labels`` rejects data without labels; with ``needs_latents``, data without the parameters that generated the
    images; with ``needs_objects``, data without several images of every object. A protocol with ``needs_map`` rejects a
    backbone without a last map; the control ``pixels`` then has no records. ``packages`` are the packages that the
    protocol imports in addition to the library's dependencies (the extra ``evaluation``). A protocol with ``pictures``
    keeps some pictures for figures; the job writes them to ``<protocol>.npz``.
    """

    options: type[_Options]
    path: str
    needs_predictor: bool = False
    needs_earlier: bool = False
    needs_labels: bool = False
    needs_latents: bool = False
    needs_objects: bool = False
    needs_map: bool = False
    pictures: bool = False
    packages: tuple[str, ...] = ()

    @property
    def evaluate(self) -> Callable[[Subject, _Options], list[Record]]:
        """The function named by ``path``."""
        function: Callable[[Subject, _Options], list[Record]] = implementation(self.path)
        return function


PROTOCOLS: dict[str, Protocol[Any]] = {
    "linear": Protocol(LinearOptions, "clever.evaluation.linear:evaluate", needs_labels=True),
    "stages": Protocol(StagesOptions, "clever.evaluation.stages:evaluate", needs_earlier=True, needs_labels=True),
    "knn": Protocol(KnnOptions, "clever.evaluation.knn:evaluate", needs_labels=True),
    "logistic": Protocol(LogisticOptions, "clever.evaluation.logistic:evaluate", needs_labels=True),
    "semi": Protocol(SemiOptions, "clever.evaluation.semi:evaluate", needs_labels=True),
    "transfer": Protocol(TransferOptions, "clever.evaluation.transfer:evaluate", needs_labels=True),
    "corruption": Protocol(
        CorruptionOptions,
        "clever.evaluation.corruption:evaluate",
        needs_labels=True,
        packages=("imagecorruptions",),
    ),
    "saliency": Protocol(
        SaliencyOptions, "clever.evaluation.saliency.protocol:evaluate", needs_map=True, pictures=True
    ),
    "video": Protocol(VideoOptions, "clever.evaluation.video.protocol:evaluate", needs_map=True, pictures=True),
    "attention": Protocol(
        AttentionOptions,
        "clever.evaluation.attention:evaluate",
        needs_map=True,
        pictures=True,
        packages=("captum",),
    ),
    "detection": Protocol(
        DetectionOptions,
        "clever.evaluation.detection.protocol:evaluate",
        needs_map=True,
        packages=("faster_coco_eval",),
    ),
    "parameters": Protocol(ParametersOptions, "clever.evaluation.parameters:evaluate"),
    "latents": Protocol(LatentsOptions, "clever.evaluation.latents:evaluate", needs_latents=True),
    "equivariance": Protocol(EquivarianceOptions, "clever.evaluation.equivariance.protocol:evaluate"),
    "quality": Protocol(QualityOptions, "clever.evaluation.quality.protocol:evaluate"),
    "relative_rotation": Protocol(
        RelativeRotationOptions, "clever.evaluation.relative_rotation:evaluate", needs_objects=True
    ),
    "relative_colour": Protocol(
        RelativeColourOptions, "clever.evaluation.relative_colour:evaluate", needs_objects=True
    ),
    "retrieval": Protocol(
        RetrievalOptions, "clever.evaluation.retrieval:evaluate", needs_predictor=True, needs_objects=True
    ),
}
