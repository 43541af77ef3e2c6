"""Protocol ``linear``: a linear classifier on frozen features, tested under every perturbation.

The defaults are the authors' settings (eval_linear.py; run.sh): softmax regression by SGD with momentum, a learning
rate of 0.001 for a batch of 256, a cosine by epoch to zero over 100 epochs, and freshly augmented images in each epoch.
The authors report the highest accuracy of all epochs on clean images, measured on the test images, and the last epoch's
accuracy under perturbations. Here, both are recorded separately.

Because the backbone is frozen, an epoch's features are computed first. The classifiers of all parts are then trained on
them at the same time, independently of each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from clever.errors import UserError
from clever.evaluation.accuracies import rank_accuracies, right_ranks
from clever.evaluation.features import SPLITS, FeatureExtractor
from clever.evaluation.options.linear import LinearOptions
from clever.evaluation.parts import Selection, part_selections
from clever.evaluation.standardisation import Standardisation
from clever.evaluation.subject import Subject
from clever.randomness import make_generator
from clever.results.records import Record


@dataclass
class SoftmaxRegression:
    """A linear classifier with its momentum: weight [classes, width] and bias [classes], float32."""

    weight: Tensor
    bias: Tensor
    weight_velocity: Tensor
    bias_velocity: Tensor

    @classmethod
    def initial(cls, width: int, classes: int, generator: torch.Generator, device: torch.device) -> SoftmaxRegression:
        """Weights from a normal distribution with standard deviation 0.01, zero bias, no momentum."""
        weight = torch.empty(classes, width).normal_(0.0, 0.01, generator=generator).to(device)
        bias = torch.zeros(classes, device=device)
        return cls(weight, bias, torch.zeros_like(weight), torch.zeros_like(bias))

    def step(self, features: Tensor, labels: Tensor, rate: float, momentum: float, weight_decay: float) -> None:
        """One step of SGD on the mean cross-entropy of features [N, width] and labels [N].

        The gradient is written out, because autograd and an optimiser would cost several times the arithmetic.
        """
        residual = torch.addmm(self.bias, features, self.weight.t()).softmax(dim=1)
        residual.scatter_add_(1, labels[:, None], residual.new_full((len(labels), 1), -1.0))
        residual /= len(labels)
        for parameter, velocity, gradient in (
            (self.weight, self.weight_velocity, residual.t() @ features),
            (self.bias, self.bias_velocity, residual.sum(dim=0)),
        ):
            velocity.mul_(momentum).add_(gradient)
            if weight_decay:
                velocity.add_(parameter, alpha=weight_decay)
            parameter.sub_(velocity, alpha=rate)

    def ranks(self, features: Tensor, labels: Tensor) -> Tensor:
        """Number of classes ranked before the right one, int64 [N]. For equal logits, the lower class comes first."""
        return right_ranks(torch.addmm(self.bias, features, self.weight.t()), labels)


def cosine_rate(rate: float, epoch: int, epochs: int) -> float:
    """The learning rate of an epoch (from 0): a half cosine from ``rate`` that would reach 0 at ``epochs``."""
    return rate * 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))


def train_epoch(
    probes: Mapping[str, SoftmaxRegression],
    parts: Mapping[str, Selection],
    features: Tensor,
    labels: Tensor,
    *,
    epoch: int,
    options: LinearOptions,
    seed: int,
) -> None:
    """Train every part's classifier for one epoch (from 0) on features [N, width] and labels [N].

    All classifiers see the same batches: the order depends only on the seed and the epoch. The last batch may be short.
    """
    rate = cosine_rate(options.learning_rate * options.batch_size / 256, epoch, options.epochs)
    order = torch.randperm(len(features), generator=make_generator(seed, "linear", "order", epoch))
    for rows in torch.split(order.to(features.device), options.batch_size):
        batch, batch_labels = features[rows], labels[rows]
        for part, probe in probes.items():
            probe.step(batch[:, parts[part]], batch_labels, rate, options.momentum, options.weight_decay)


def evaluate(subject: Subject, options: LinearOptions, *, mean_class: bool = False) -> list[Record]:
    """Train a classifier for each part and test it under each perturbation.

    A backbone that was trained without a split (``subject.ir_dim`` None) has only the part ALL. Records: ``top1`` and,
    with five classes or more, ``top5``, in percent of the test images; ``last`` for every perturbation, ``best`` only
    for ``orig`` (the epoch with the highest top1, the earliest if equal; top5 is from the same epoch); with
    ``mean_class``, also the mean over classes of each class's accuracy. The same seed gives the same bits on the same
    machine.

    Raises UserError if classes are missing from the training images, features are not finite or training diverges.
    """
    blocks = options.last_blocks if subject.backbone.has_blocks else 1
    extractor = FeatureExtractor(subject, options, blocks=blocks)
    parts = part_selections(subject.backbone.feature_dim, subject.ir_dim, blocks)
    train_labels, test_labels = (extractor.labels(split).to(subject.device) for split in SPLITS)
    views = _Views(extractor, options, subject.device)
    clean = views.test("orig") if "orig" in options.perturbations else None
    probes: dict[str, SoftmaxRegression] = {}
    for part, where in parts.items():
        width = len(torch.arange(extractor.width)[where])
        # The generator is the same for every part, so each starts as if it were trained alone.
        generator = make_generator(subject.seed, "linear", "weights")
        probes[part] = SoftmaxRegression.initial(width, len(subject.store.classes), generator, subject.device)
        if isinstance(where, Tensor):
            parts[part] = where.to(subject.device)

    best: dict[str, tuple[Tensor, int]] = {}
    for epoch in range(options.epochs):
        train_epoch(probes, parts, views.train(epoch), train_labels, epoch=epoch, options=options, seed=subject.seed)
        for part, probe in probes.items():
            if not bool(probe.weight.isfinite().all()):
                raise UserError(
                    f"{subject.identity.run}: the linear probe of {part} diverged in epoch {epoch + 1}; "
                    f"lower learning_rate ({options.learning_rate}) or set standardise: true"
                )
            if clean is not None:
                ranks = probe.ranks(clean[:, parts[part]], test_labels)
                if part not in best or _hits(ranks) > _hits(best[part][0]):
                    best[part] = ranks, epoch + 1

    def accuracies(ranks: Tensor) -> dict[str, float]:
        return rank_accuracies(ranks, test_labels, len(subject.store.classes), mean_class=mean_class)

    records: list[Record] = []
    for part, (ranks, epoch) in best.items():
        records += _records(subject, part, "orig", accuracies(ranks), len(ranks), "best", epoch)
    for perturbation in options.perturbations:
        features = clean if perturbation == "orig" and clean is not None else views.test(perturbation)
        for part, probe in probes.items():
            ranks = probe.ranks(features[:, parts[part]], test_labels)
            records += _records(subject, part, perturbation, accuracies(ranks), len(ranks), "last", options.epochs)
    return records


class _Views:
    """The classifiers' input features, standardised if requested, on ``device``."""

    def __init__(self, extractor: FeatureExtractor, options: LinearOptions, device: torch.device) -> None:
        self._extractor = extractor
        self._device = device
        self._standardisation: Standardisation | None = None
        self._cached: list[Tensor] = []
        if options.training_views == "plain":
            self._cached = [extractor.perturbed("train", "orig").to(device)]
        elif isinstance(options.training_views, int):
            self._cached = [
                extractor.augmented("train", version).to(device) for version in range(options.training_views)
            ]
        if options.standardise:
            self._standardisation = Standardisation.of(self._cached or [extractor.augmented("train", 0).to(device)])
            self._cached = [self._standardisation(view) for view in self._cached]

    def train(self, epoch: int) -> Tensor:
        """Features of the training images in an epoch (from 0)."""
        if self._cached:
            return self._cached[epoch % len(self._cached)]
        return self._scaled(self._extractor.augmented("train", epoch))

    def test(self, perturbation: str) -> Tensor:
        """Features of the test images under a perturbation."""
        return self._scaled(self._extractor.perturbed("test", perturbation))

    def _scaled(self, features: Tensor) -> Tensor:
        features = features.to(self._device)
        return self._standardisation(features) if self._standardisation else features


def _records(
    subject: Subject,
    part: str,
    perturbation: str,
    values: Mapping[str, float],
    n: int,
    selection: Literal["last", "best"],
    epoch: int,
) -> list[Record]:
    return [
        subject.record(
            protocol="linear",
            part=part,
            perturbation=perturbation,
            metric=metric,
            value=value,
            n=n,
            selection=selection,
            epoch=epoch,
        )
        for metric, value in values.items()
    ]


def _hits(ranks: Tensor) -> int:
    return int((ranks < 1).sum())
