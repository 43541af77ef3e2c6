"""Protocol ``corruption``: accuracy under the 15 corruptions of ImageNet-C at five severities.

A single logistic regression on the clean training features classifies all images. Accuracies are recorded as measured,
and relative to the classifier's accuracy on clean test images. Images are corrupted after resizing and cropping, as in
ImageNet-C.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clever.augmentation import PerturbationOptions, perturb
from clever.data import ImageBatch
from clever.errors import UserError
from clever.evaluation.accuracies import accuracy
from clever.evaluation.corrupted_images import CorruptedImages
from clever.evaluation.corruptions import corrupt, relative_accuracy
from clever.evaluation.features import FeatureExtractor
from clever.evaluation.imagenet_c import SMALLEST
from clever.evaluation.logistic_regression import fit
from clever.evaluation.options.corruption import CorruptionOptions
from clever.evaluation.parts import part_selections
from clever.evaluation.subject import Subject
from clever.results.records import Record


def evaluate(subject: Subject, options: CorruptionOptions) -> list[Record]:
    """Fit a classifier for each part on clean images and test it on corrupted ones.

    Records in percent of the test images: ``top1`` for ``orig`` and for each ``<corruption>_<severity>``; and
    ``relative_top1``, the remaining share of the clean accuracy, for each corruption over its severities and for
    ``corrupted``, the mean over corruptions.

    Raises:
        UserError: the images are too small, classes are missing from the training images, features are not finite, the
            package that draws corruptions is not installed, or the folder ``root`` does not fit the data.
    """
    backbone, store = subject.backbone, subject.store
    blocks = options.last_blocks if backbone.has_blocks else 1
    extractor = FeatureExtractor(subject, options, blocks=blocks)
    if options.root is None and extractor.image_size < SMALLEST:
        raise UserError(
            f"{subject.identity.run}: images of {extractor.image_size} px are too small to corrupt, at least {SMALLEST}"
            " px are needed: leave out evaluations.corruption"
        )
    parts = part_selections(backbone.feature_dim, subject.ir_dim, blocks)
    train = extractor.perturbed("train", "orig").to(subject.device)
    labels, test_labels = (extractor.labels(split).to(subject.device) for split in ("train", "test"))
    probes = {
        part: fit(train[:, where], labels, len(store.classes), options.penalty, max_iterations=options.max_iterations)
        for part, where in parts.items()
    }
    records: list[Record] = []
    record = partial(subject.record, protocol="corruption")

    def score(features: Tensor, right: Tensor) -> dict[str, float]:
        features = features.to(subject.device)
        return {part: accuracy(probe.predict(features[:, parts[part]]), right) for part, probe in probes.items()}

    right = test_labels
    clean = score(extractor.perturbed("test", "orig"), right)
    corrupted: dict[str, dict[tuple[str, int], float]] = {part: {} for part in parts}
    for part in parts:
        records.append(record(part=part, perturbation="orig", metric="top1", value=clean[part], n=len(test_labels)))
    for name in options.corruptions:
        for severity in sorted(set(options.severities)):
            if options.root is None:
                view = _Corrupted(subject, options, extractor.image_size, name, severity)
                features = extractor.extract("test", f"{name} {severity}", view)
            else:
                found = CorruptedImages(Path(options.root), name, severity, store)
                features = extractor.of_images(found.images, f"{name} {severity}")
                right = found.labels.to(subject.device)
            for part, value in score(features, right).items():
                corrupted[part][name, severity] = value
                records.append(
                    record(part=part, perturbation=f"{name}_{severity}", metric="top1", value=value, n=len(right))
                )
    for part in parts:
        if clean[part] > 0.0:
            for name, value in relative_accuracy(corrupted[part], clean[part]).items():
                perturbation = "corrupted" if name == "mean" else name
                records.append(
                    record(part=part, perturbation=perturbation, metric="relative_top1", value=value, n=len(right))
                )
    return records


class _Corrupted:
    """Makes the view of a batch: images are cropped like the clean images, corrupted and normalised."""

    def __init__(self, subject: Subject, options: CorruptionOptions, image_size: int, name: str, severity: int) -> None:
        self._subject = subject
        self._image_size, self._resize_size = image_size, options.resize_size or image_size
        self._name, self._severity = name, severity

    def __call__(self, batch: ImageBatch) -> Tensor:
        cropped = perturb(
            "orig",
            batch.pixels,
            batch.sizes,
            image_size=self._image_size,
            resize_size=self._resize_size,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            seed=self._subject.seed,
            indices=batch.indices,
            options=PerturbationOptions(interpolation="bicubic"),
        )
        pixels = (cropped * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        indices = batch.indices.tolist()
        out = corrupt(
            np.ascontiguousarray(pixels), self._name, self._severity, seed=self._subject.seed, indices=indices
        )
        images = torch.from_numpy(out).to(cropped.device).permute(0, 3, 1, 2).float() / 255
        store = self._subject.store
        mean, std = (torch.tensor(each, device=images.device).view(1, 3, 1, 1) for each in (store.mean, store.std))
        return (images - mean) / std
