"""Check that the data sets provide what the protocols need: classes, latents, objects, one common image size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clever.data.registry import SOURCES
from clever.evaluation import PROTOCOLS
from clever.evaluation.options.external import ExternalOptions
from clever.options import nearest

if TYPE_CHECKING:
    from clever.config import Study

_WITH_LATENTS = " or ".join(name for name, kind in SOURCES.items() if kind.latents)
_WITH_OBJECTS = " or ".join(name for name, kind in SOURCES.items() if kind.object_views)


def measured_on(study: Study, evaluation: str) -> list[str]:
    """The study's data sets whose images an evaluation uses, sorted: those of the runs, or the one that it names.

    Args:
        evaluation: a name from ``study.evaluation_options()``.
    """
    options = study.evaluation_options()[evaluation]
    if isinstance(options, ExternalOptions):
        return []
    other = options.evaluation_data()
    return sorted({block.data for block in study.blocks()}) if other is None else [other]


def lacking_test_images(study: Study, name: str) -> Iterator[str]:
    """Yield the evaluations that measure on the given data set, which has no test images."""
    for protocol in study.evaluation_options():
        if name in measured_on(study, protocol):
            yield (
                f"evaluations.{protocol}: data.{name} has no test images, on which {protocol} measures; add the "
                f"folder val, or leave {protocol} out"
            )


def needs_classes(protocol: str) -> bool:
    """Whether a protocol, or a variant of it, distinguishes classes."""
    return PROTOCOLS[protocol.partition("+")[0]].needs_labels


def data_faults(study: Study) -> Iterator[str]:
    """Yield a fault for everything that a protocol needs and the data set of a run lacks."""
    runs_data = {block.data for block in study.blocks()}
    for protocol, options in study.evaluation_options().items():
        kind, where = protocol.partition("+")[0], f"evaluations.{protocol}"
        averaging = getattr(options, "averaging", None)
        # The options of a protocol with its own images are nevertheless compared with the runs' data.
        for name in measured_on(study, protocol) or sorted(runs_data):
            data = study.data[name]
            needs, source = PROTOCOLS[kind], SOURCES[data.source]
            if needs.needs_latents and not source.latents:
                yield (
                    f"{where}: data.{name} (source {data.source}) has no latents; leave {kind} out, or use source "
                    f"{_WITH_LATENTS}"
                )
            elif needs.needs_latents:
                for target in getattr(options, "targets", None) or ():
                    if target not in source.latents:
                        yield f"{where}.targets: data.{name} has no latent {target!r}{nearest(target, source.latents)}"
            if needs.needs_objects and not source.object_views:
                yield (
                    f"{where}: needs images of known objects, but data.{name} has source {data.source}; leave "
                    f"{kind} out, or use source {_WITH_OBJECTS}"
                )
            if getattr(options, "lists", None) and not SOURCES[data.source].files:
                yield (
                    f"{where}.lists: names image files, but data.{name} (source {data.source}) has none; leave lists "
                    "out, or use a source of image files"
                )
            if needs_classes(protocol) and data.classes is not None and len(data.classes) < 2:
                yield (
                    f"{where}: data.{name}.classes names {len(data.classes)} class, but {kind} needs at least two; "
                    f"add classes, or leave {kind} out"
                )
            if data.format == "encoded" and getattr(options, "image_size", 0) is None:
                yield (
                    f"{where}.image_size: is missing, but the images of data.{name} (format encoded) have no common "
                    "size; set it (paper: 224)"
                )
            if averaging is not None and averaging.renders:
                if averaging.augmentation.source != data.source:
                    yield (
                        f"{where}.averaging.augmentation: {averaging.augmentation.name} renders images of source "
                        f"{averaging.augmentation.source}, but data.{name} has source {data.source}; choose another "
                        "augmentation"
                    )
                if getattr(options, "image_size", None) not in (None, averaging.augmentation.global_size):
                    yield (
                        f"{where}.image_size: averaging.augmentation {averaging.augmentation.name} renders images of "
                        f"{averaging.augmentation.global_size} px; omit image_size or set it to that"
                    )
    yield from _target_faults(study)
    yield from _retrieval_faults(study)


def _target_faults(study: Study) -> Iterator[str]:
    """Yield a fault if a supervised baseline would regress latents that the data lack or that the views redraw."""
    for block in study.blocks():
        source = study.data[block.data].source
        known = SOURCES[source].latents
        for name, method in block.methods.items():
            target = getattr(method.baseline, "target", None)
            if target is None:
                continue
            where = f"methods.{name}.baseline.target"
            if target not in known:
                cure = f"choose one of {', '.join(known)}" if known else f"use source {_WITH_LATENTS}"
                yield f"{where}: data.{block.data} (source {source}) has no latent {target!r}; {cure}"
            for augmentation, views in block.augmentations.items():
                if target in getattr(views, "nuisances", ()):
                    yield (
                        f"{where}: {target} is a nuisance of augmentations.{augmentation}, so every view has another "
                        "value than its image; choose a latent that the views keep"
                    )


def _retrieval_faults(study: Study) -> Iterator[str]:
    """Yield a fault if retrieval would use a predictor that was not trained on rotations."""
    if "retrieval" not in {protocol.partition("+")[0] for protocol in study.evaluation_options()}:
        return
    for block in study.blocks():
        for method, options in block.methods.items():
            if options.equivariance.name != "sie":
                continue
            for augmentation, views in block.augmentations.items():
                if not views.pairs:
                    yield (
                        f"evaluations.retrieval: the predictor of methods.{method} ({block.where}) would be "
                        f"trained on augmentations.{augmentation}, not on rotations; train it on pairs"
                    )
