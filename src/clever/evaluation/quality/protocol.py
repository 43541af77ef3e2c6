"""Protocol ``quality``: measures of each part of a representation that need no classifier.

Measured on the run's test images, in evaluation mode, on the backbone's output vector (RankMe's authors report the
projector or the backbone; this is the backbone):

- ``rankme``, ``alpha_req``, ``uniformity``, ``tolerance`` (needs labels) and ``penalty_entropy`` for unchanged images;
- ``lidar`` and ``alignment`` for several augmented views of some images.

The views are the same for all runs of a study, independent of their training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from clever.augmentation import Augmentation, Table
from clever.augmentation.tables import take, upload
from clever.evaluation.averaging import first_view_only
from clever.evaluation.features import FeatureExtractor
from clever.evaluation.notes import note
from clever.evaluation.options.quality import QualityOptions
from clever.evaluation.parts import Selection, part_selections, with_equal_width
from clever.evaluation.quality.geometry import alignment, penalty_entropy, tolerance, uniformity
from clever.evaluation.quality.spectrum import alpha_req, lidar, rankme
from clever.evaluation.subject import Subject
from clever.randomness import make_generator
from clever.results.records import Record

NAME = "quality"


def evaluate(subject: Subject, options: QualityOptions) -> list[Record]:
    """Measure ALL, IR and EF, and the wider of IR and EF reduced to the width of the other.

    The subject's seed draws images and views. Records, perturbation ``orig``: ``rankme``, ``alpha_req``,
    ``uniformity``, ``penalty_entropy``, and ``tolerance`` if there are labels; perturbation ``views``: ``lidar`` and
    ``alignment``. Undefined values, for example of a part that does not vary, have no record; a note says so.

    Raises UserError if features are not finite.
    """
    extractor = FeatureExtractor(subject, options, blocks=1, labelled=False)
    generator = make_generator(subject.seed, NAME, "images")
    rows = torch.randperm(len(extractor.split("test")), generator=generator)[: options.images]
    images = extractor.stored_images("test", rows)
    unchanged = extractor.features_of(images, "test images (unchanged)")
    views = _views(extractor, images[: options.lidar_images], subject, options)
    labels = upload(extractor.labels("test")[rows], subject.device) if subject.store.labelled else None
    found: list[tuple[str, str, str, Tensor, int]] = []
    for part, where in _parts(subject).items():
        plain, augmented = unchanged[:, where], views[..., where]
        values = {
            "rankme": rankme(plain),
            "alpha_req": alpha_req(plain, options.alpha_first, options.alpha_last),
            "uniformity": uniformity(plain),
            "penalty_entropy": penalty_entropy(plain, options.temperature),
        }
        if labels is not None:
            values["tolerance"] = tolerance(plain, labels)
        found += [(part, "orig", metric, value, len(plain)) for metric, value in values.items()]
        found.append((part, "views", "lidar", lidar(augmented), len(augmented)))
        found.append((part, "views", "alignment", alignment(augmented), len(augmented)))
    numbers = torch.stack([value for *_, value, _ in found]).tolist()
    records = []
    for (part, perturbation, metric, _, n), value in zip(found, numbers, strict=True):
        if math.isfinite(value):
            records.append(
                subject.record(protocol=NAME, part=part, perturbation=perturbation, metric=metric, value=value, n=n)
            )
        else:
            note(f"{subject.identity.run}: {metric} of {part} is undefined: too few features vary")
    return records


def _views(extractor: FeatureExtractor, images: Tensor, subject: Subject, options: QualityOptions) -> Tensor:
    """Features [C, Q, D] of augmented views of images uint8 [C, 3, S, S]."""
    maker = Augmentation(
        first_view_only(options.augmentation, extractor.image_size), subject.store.mean, subject.store.std
    )
    rows, found = torch.arange(len(images)), []
    # The maker makes two views at a time.
    for number in range(-(-options.views // 2)):
        sizes = torch.full((len(images), 2), extractor.image_size)
        tables = maker.draw(sizes, make_generator(subject.seed, NAME, "views", number))

        def pairs(tables: Sequence[Table] = tables, sizes: Tensor = sizes) -> Iterator[Tensor]:
            for chunk in torch.split(rows, max(1, options.extraction_batch // 2)):
                drawn = [take(table, chunk) for table in tables]
                views = maker.apply(images[chunk[0] : chunk[-1] + 1], sizes[chunk], drawn)
                yield torch.stack([view.images for view in views], 1).flatten(0, 1)

        features = extractor.features_of_batches(pairs(), f"test images (augmented, pass {number})")
        found.append(features.view(len(images), 2, -1))
    return torch.cat(found, 1)[:, : options.views]


def _parts(subject: Subject) -> dict[str, Selection]:
    width = subject.backbone.feature_dim
    generator = make_generator(subject.seed, NAME, "equal width")
    parts = with_equal_width(part_selections(width, subject.ir_dim), width, subject.ir_dim, generator)
    return {
        part: upload(where, subject.device) if isinstance(where, Tensor) else where for part, where in parts.items()
    }
