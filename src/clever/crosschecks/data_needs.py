"""Protocols against what the data sets know of their images: classes, latents, objects, one common size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clever import spirograph, threediebench
from clever.evaluation import PROTOCOLS
from clever.options import nearest

if TYPE_CHECKING:
    from clever.config import Study

LATENTS = {"spirograph": tuple(spirograph.NAMES), "threediebench": threediebench.NAMES}
"""Sources whose images come with the numbers that they were made from."""

NEED_LATENTS = ("latents",)
NEED_OBJECTS = ("relative_rotation", "relative_colour", "retrieval")


def needs_classes(protocol: str) -> bool:
    """Whether a protocol, or a variant of one, tells classes apart."""
    return PROTOCOLS[protocol.partition("+")[0]].needs_labels


def data_faults(study: Study) -> Iterator[str]:
    """What the protocols need and the data sets of the runs lack."""
    used = {block.data: study.data[block.data] for block in study.pretrainings}
    for protocol, options in study.evaluation_options().items():
        kind, where = protocol.partition("+")[0], f"evaluations.{protocol}"
        averaging = getattr(options, "averaging", None)
        for name, data in used.items():
            known = LATENTS.get(data.source, ())
            if kind in NEED_LATENTS and not known:
                yield (
                    f"{where}: data.{name} (source {data.source}) has no latents; leave {kind} out, or take source "
                    f"{' or '.join(LATENTS)}"
                )
            elif kind in NEED_LATENTS:
                for target in getattr(options, "targets", None) or ():
                    if target not in known:
                        yield f"{where}.targets: data.{name} has no latent {target!r}{nearest(target, known)}"
            if kind in NEED_OBJECTS and data.source != "threediebench":
                yield (
                    f"{where}: needs photographs of known objects, and data.{name} has source {data.source}; leave "
                    f"{kind} out, or take source threediebench"
                )
            if needs_classes(protocol) and data.classes is not None and len(data.classes) < 2:
                yield (
                    f"{where}: data.{name}.classes names {len(data.classes)} class, and {kind} tells classes apart; "
                    f"name two or more, or leave {kind} out"
                )
            if data.format == "encoded" and getattr(options, "image_size", 0) is None:
                yield (
                    f"{where}.image_size: is left out, but the images of data.{name} (format encoded) have no common "
                    "size; set it (paper: 224)"
                )
            if averaging is not None and averaging.renders:
                if averaging.recipe.source != data.source:
                    yield (
                        f"{where}.averaging.recipe: {averaging.recipe.name} renders images of source "
                        f"{averaging.recipe.source}, and data.{name} has source {data.source}; take another recipe"
                    )
                if getattr(options, "image_size", None) not in (None, averaging.recipe.global_size):
                    yield (
                        f"{where}.image_size: averaging.recipe {averaging.recipe.name} renders images of "
                        f"{averaging.recipe.global_size} px; leave image_size out or make it that"
                    )
    yield from _retrieval_faults(study)


def _retrieval_faults(study: Study) -> Iterator[str]:
    """A predictor that was told of something else than rotations cannot be asked to retrieve."""
    if "retrieval" not in {protocol.partition("+")[0] for protocol in study.evaluation_options()}:
        return
    for place, block in enumerate(study.pretrainings):
        for method in block.methods:
            if study.methods[method].equivariance.name != "sie":
                continue
            for augmentation in block.augmentations:
                if not study.augmentations[augmentation].pairs:
                    yield (
                        f"evaluations.retrieval: the predictor of methods.{method} (pretrainings.{place}) would be "
                        f"told of augmentations.{augmentation}, not of rotations; train it on pairs"
                    )
