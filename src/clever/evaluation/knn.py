"""Protocol ``knn``: weighted nearest neighbours on frozen features, tested under every perturbation.

It needs neither training nor a learning rate, so it is a quick and fair check of the linear probe. The authors do not
use it. The vote follows instance discrimination (Wu et al. 2018), as in DINO: neighbours are found by cosine, and each
votes for its class with weight exp(cosine / temperature).
"""

from __future__ import annotations

from clever.evaluation.features import SPLITS, FeatureExtractor
from clever.evaluation.notes import note
from clever.evaluation.options.knn import KnnOptions
from clever.evaluation.parts import part_selections
from clever.evaluation.subject import Subject
from clever.results.records import Record
from clever.voting import vote


def evaluate(subject: Subject, options: KnnOptions) -> list[Record]:
    """Classify the test images under each perturbation by their neighbours among the unchanged training images.

    Uses the backbone's output vector (no concatenated blocks). Records: ``top1`` in percent, selection ``last``, epoch
    0. The subject's seed draws only the perturbations.

    Raises UserError if classes are missing from the training images or features are not finite.
    """
    extractor = FeatureExtractor(subject, options, blocks=1)
    parts = part_selections(subject.backbone.feature_dim, subject.ir_dim)
    train_labels, test_labels = (extractor.labels(split).to(subject.device) for split in SPLITS)
    for k in options.neighbours:
        if k > len(train_labels):
            note(f"{subject.identity.run}: only {len(train_labels)} of {k} neighbours vote, one per training image")
    train = extractor.perturbed("train", "orig").to(subject.device)
    records: list[Record] = []
    for perturbation in options.perturbations:
        test = extractor.perturbed("test", perturbation).to(subject.device)
        for part, where in parts.items():
            predictions = vote(
                train[:, where],
                train_labels,
                test[:, where],
                options.neighbours,
                options.temperature,
                len(subject.store.classes),
            )
            for k, prediction in zip(options.neighbours, predictions, strict=True):
                records.append(
                    subject.record(
                        protocol="knn" if len(options.neighbours) == 1 else f"knn{k}",
                        part=part,
                        perturbation=perturbation,
                        metric="top1",
                        value=100.0 * int((prediction == test_labels).sum()) / len(test_labels),
                        n=len(test_labels),
                    )
                )
    return records
