"""Predict the change between two photographs of an object: a head on their concatenated frozen features.

Garrido et al. 2023 (SIE, ``eval_*.py``): the input is [r(x); r(x')], and the head is an MLP 2d - 1024 - 1024 - targets
with ReLU, trained with Adam on the mean squared error. Their scripts put the backbone into training mode together with
the head, which changes the running statistics of its normalisation; here, it stays in evaluation mode.

The protocols ``relative_rotation`` and ``relative_colour`` differ in the targets of the regression.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clever import threediebench
from clever.data import Store
from clever.data.pairs import Pairs
from clever.errors import UserError
from clever.evaluation.features import SPLITS, FeatureExtractor, SplitName
from clever.evaluation.options.relative import RelativeOptions
from clever.evaluation.parts import part_selections
from clever.evaluation.subject import Subject
from clever.randomness import derive_seed, make_generator, seeded
from clever.results.records import Record

Targets = Callable[[Tensor, Tensor], Tensor]
"""Latents of the first and of the second photographs, [N, 7] each, to float32 [N, T]."""
Scores = Callable[[Tensor, Tensor], Mapping[str, float]]
"""Predictions and targets, [N, T] each, to the value of each metric."""


def require_threediebench(store: Store, run: str, protocol: str) -> None:
    """Reject a store without 3DIEBench's latents or without object ids.

    Raises:
        UserError: the store does not suit; the message names the protocol and the source that it needs.
    """
    if store.latent_names != threediebench.NAMES or store.split("train").groups is None:
        raise UserError(f"{run}: the protocol {protocol} needs photographs of known objects: use source threediebench")


def pooled_r2(predictions: Tensor, targets: Tensor) -> float:
    """1 - sum (t - o)^2 / sum (t - mean t)^2 over all entries of [N, T], with a single scalar mean of all entries.

    This is SIE's definition. If the means of the columns differ, as for a quaternion, it is larger than the mean of R2.
    """
    truth = targets.double()
    return 1.0 - float(((predictions.double() - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def evaluate_relative(
    subject: Subject,
    options: RelativeOptions,
    *,
    protocol: str,
    targets: Targets,
    scores: Scores,
) -> list[Record]:
    """Train a head for each part on pairs of training photographs and test it on pairs of test photographs.

    The subject's seed draws the pairs, their order and the head's initial weights, which are the same for every part.
    Records: the results of ``scores`` for each perturbation, over all test pairs.

    Raises UserError if the store is not 3DIEBench, features are not finite, or training diverges.
    """
    require_threediebench(subject.store, subject.identity.run, protocol)
    extractor = FeatureExtractor(subject, options, blocks=1, labelled=False)
    parts = part_selections(subject.backbone.feature_dim, subject.ir_dim)
    pairs, test_pairs = (_Pairs(extractor, split, targets, subject.device) for split in SPLITS)
    test_rows, test_targets = test_pairs.draw(options.test_pairs_an_object, subject.seed, protocol, "test pairs")
    train = extractor.perturbed("train", "orig").to(subject.device)
    heads: dict[str, nn.Module] = {}
    for part, where in parts.items():
        with seeded(derive_seed(subject.seed, protocol, "head")):
            heads[part] = make_head(2 * train[:1, where].shape[1], test_targets.shape[1], options).to(subject.device)
    optimisers = {part: torch.optim.Adam(head.parameters(), options.learning_rate) for part, head in heads.items()}
    for epoch in range(options.epochs):
        rows, epoch_targets = pairs.draw(options.pairs_an_object, subject.seed, protocol, "pairs", epoch)
        order = torch.randperm(len(rows), generator=make_generator(subject.seed, protocol, "order", epoch)).to(
            subject.device
        )
        for batch in torch.split(order, options.batch_size):
            for part, where in parts.items():
                features = train[rows[batch]][..., where].flatten(1)
                loss = F.mse_loss(heads[part](features), epoch_targets[batch])
                optimisers[part].zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimisers[part].step()
    records: list[Record] = []
    for perturbation in options.perturbations:
        test = extractor.perturbed("test", perturbation).to(subject.device)
        for part, where in parts.items():
            with torch.no_grad():
                batches = torch.split(test_rows, options.extraction_batch)
                predictions = torch.cat([heads[part](test[rows][..., where].flatten(1)) for rows in batches])
            if not bool(predictions.isfinite().all()):
                raise UserError(
                    f"{subject.identity.run}: the head of {protocol} on {part} diverged: "
                    f"lower learning_rate ({options.learning_rate})"
                )
            records += [
                subject.record(
                    protocol=protocol,
                    part=part,
                    perturbation=perturbation,
                    metric=metric,
                    value=value,
                    n=len(test_rows),
                    epoch=options.epochs,
                )
                for metric, value in scores(predictions, test_targets).items()
            ]
    return records


def make_head(input_dim: int, output_dim: int, options: RelativeOptions) -> nn.Module:
    """Create a head from the features of a pair [N, input_dim] to [N, output_dim], with torch's initialisation."""
    if options.head == "linear":
        return nn.Linear(input_dim, output_dim)
    hidden = options.hidden_dim
    return nn.Sequential(
        *(nn.Linear(input_dim, hidden), nn.ReLU()),
        *(nn.Linear(hidden, hidden), nn.ReLU()),
        nn.Linear(hidden, output_dim),
    )


class _Pairs:
    """Pairs of photographs of a split's objects, and the change from the first to the second."""

    def __init__(self, extractor: FeatureExtractor, split: SplitName, targets: Targets, device: torch.device) -> None:
        photographs = extractor.split(split)
        assert photographs.latents is not None
        self._pairs, self._latents = Pairs(photographs), photographs.latents
        self._targets, self._device = targets, device

    def draw(self, times: int, seed: int, *purpose: str | int) -> tuple[Tensor, Tensor]:
        """Rows int64 [times * objects, 2] and targets float32 [times * objects, T]."""
        generator = make_generator(seed, *purpose)
        rows = torch.cat([self._pairs.draw(generator) for _ in range(times)])
        targets = self._targets(self._latents[rows[:, 0]], self._latents[rows[:, 1]])
        return rows.to(self._device), targets.to(self._device)
