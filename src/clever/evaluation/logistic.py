"""Protocol ``logistic``: L-BFGS logistic regression on frozen features, with the penalty chosen on validation images.

This is the linear protocol of the transfer literature (Kornblith et al. 2019; Ericsson et al. 2021): 45 penalties, no
augmentation, no learning rate. `clever.evaluation.logistic_regression` defines the objective.
"""

from __future__ import annotations

import sys
from functools import partial

import torch
from torch import Tensor

from clever.evaluation.accuracies import accuracy, mean_class_accuracy
from clever.evaluation.features import FeatureExtractor
from clever.evaluation.labelled_subset import stratified_subset
from clever.evaluation.logistic_regression import PenaltySearch, search_penalty
from clever.evaluation.options.logistic import LogisticOptions
from clever.evaluation.pace import Pace
from clever.evaluation.parts import part_selections
from clever.evaluation.subject import Subject
from clever.results.records import Record


def evaluate(subject: Subject, options: LogisticOptions) -> list[Record]:
    """Choose a penalty and fit a classifier for each part, and test it under each perturbation.

    Records: ``top1`` and ``mean_class`` (the mean over classes of each class's accuracy), in percent of the test
    images, and ``penalty``, the chosen one.

    Raises:
        UserError: classes are missing from the training images, or features are not finite.
    """
    backbone = subject.backbone
    blocks = options.last_blocks if backbone.has_blocks else 1
    extractor = FeatureExtractor(subject, options, blocks=blocks)
    parts = part_selections(backbone.feature_dim, subject.ir_dim, blocks)
    train = extractor.perturbed("train", "orig").to(subject.device)
    labels, test_labels = (extractor.labels(split).to(subject.device) for split in ("train", "test"))
    validation = torch.zeros(len(labels), dtype=torch.bool)
    validation[torch.from_numpy(stratified_subset(labels.cpu().numpy(), options.validation_share, subject.seed))] = True
    classes = len(subject.store.classes)
    grid = penalty_grid(options)
    found: dict[str, PenaltySearch] = {}
    for part, where in parts.items():
        pace = Pace(f"logistic {part}", len(grid) + 1, "fits")
        found[part] = search_penalty(
            train[:, where],
            labels,
            validation.to(labels.device),
            classes,
            penalties=grid,
            score=mean_class_accuracy if options.choose_by == "mean_class" else accuracy,
            max_iterations=options.max_iterations,
            progress=pace.step,
        )
    records: list[Record] = []
    record = partial(subject.record, protocol="logistic", n=len(test_labels))
    for part, search in found.items():
        penalty = search.classifier.penalty
        records.append(record(part=part, perturbation="orig", metric="penalty", value=penalty))
        if search.unconverged:
            print(
                f"logistic {part}: {search.unconverged} of {options.penalties + 1} fits stopped at max_iterations "
                f"{options.max_iterations}",
                file=sys.stderr,
            )
    for perturbation in options.perturbations:
        features: Tensor = extractor.perturbed("test", perturbation).to(subject.device)
        for part, search in found.items():
            predictions = search.classifier.predict(features[:, parts[part]])
            for metric, score in (("top1", accuracy), ("mean_class", mean_class_accuracy)):
                value = score(predictions, test_labels)
                records.append(record(part=part, perturbation=perturbation, metric=metric, value=value))
    return records


def penalty_grid(options: LogisticOptions) -> tuple[float, ...]:
    """The penalties to try, ascending."""
    low, high = (
        torch.tensor(p, dtype=torch.float64).log10() for p in (options.smallest_penalty, options.largest_penalty)
    )
    steps = torch.linspace(0.0, 1.0, options.penalties, dtype=torch.float64)
    return tuple((10 ** (low + (high - low) * steps)).tolist())
