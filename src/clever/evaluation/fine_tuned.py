"""Fine-tunes backbone and classifier on labelled training images, then tests them; shared by `semi` and `transfer`."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from clever.augmentation import probe_views
from clever.data import Batches
from clever.evaluation.accuracies import rank_accuracies, right_ranks
from clever.evaluation.features import FeatureExtractor
from clever.evaluation.finetuning import Classifier, FineTuningSettings, Progress, fine_tune
from clever.evaluation.options.fine_tuning import FineTuningOptions
from clever.evaluation.pace import Pace
from clever.evaluation.parts import Selection
from clever.evaluation.resumption import ResumableState
from clever.evaluation.subject import Subject
from clever.randomness import derive_seed, make_generator
from clever.results.records import Record


class FineTuning:
    """Fine-tunes a copy of the subject's backbone for one part of the representation.

    A killed training resumes from its last epoch if the subject has a ``state_folder``.

    Args:
        name: name of the records' protocol and of the state's file.
        part, columns: the part's name, and its columns of the features.
        rows: the training images that keep their labels, int64 [M].
        mean_class: also record the mean over classes of each class's accuracy.
    """

    def __init__(
        self,
        subject: Subject,
        options: FineTuningOptions,
        name: str,
        part: str,
        columns: Selection,
        rows: Tensor,
        *,
        mean_class: bool = False,
    ) -> None:
        self._mean_class = mean_class
        self._name = name if options.core_tuning is None else f"{name}_core_tuning"
        self._subject, self._options, self._part = subject, options, part
        blocks = options.last_blocks if subject.backbone.has_blocks else 1
        # The seed is the same for every part and share, so each starts as if it were trained alone.
        backbone = copy.deepcopy(subject.backbone)
        classes = len(subject.store.classes)
        self._model = Classifier(backbone, columns, blocks, classes, subject.seed, options.core_tuning)
        self._model.to(subject.device)
        self._extractor = FeatureExtractor(replace(subject, backbone=backbone), options, blocks=blocks)
        self._test_labels = self._extractor.labels("test")
        self._batches = Batches(
            subject.store.split("train"),
            min(options.batch_size, len(rows)),
            seed=derive_seed(subject.seed, "semi batches"),
            device=subject.device,
            drop_last=False,
            workers=options.workers,
            rows=rows,
        )

    def run(self) -> list[Record]:
        """Train, and test under each perturbation.

        Records: ``top1`` and, with five classes or more, ``top5``, in percent of the test images; ``last`` for every
        perturbation, ``best`` for ``orig`` (the epoch with the highest top1, the earliest of equals).

        Raises:
            UserError: classes are missing from the training images, or training diverges.
        """
        options, subject = self._options, self._subject
        state = None
        if subject.state_folder is not None:
            identity = {
                "run": subject.identity.run,
                "recipe": subject.identity.recipe_digest,
                "data": subject.identity.data_checksum,
                "options": options.canonical(),
            }
            state = ResumableState(subject.state_folder / f"{self._name}_{self._part}.pt", identity)
        pace = Pace(f"{self._name} {self._part}", options.epochs, "epochs")

        def report(progress: Progress) -> None:
            pace.reached(progress.epochs, f"loss {progress.losses[-1]:.4f}")

        progress = fine_tune(
            self._model,
            self._views,
            settings_of(options),
            seed=subject.seed,
            run=subject.identity.run,
            measure=self._measure if options.best_epoch and "orig" in options.perturbations else None,
            state=state,
            report=report,
        )
        records: list[Record] = []
        if progress.measured and progress.measured[0]:
            best = max(range(progress.epochs), key=lambda epoch: progress.measured[epoch]["top1"])
            records += self._records("orig", progress.measured[best], "best", best + 1)
        for perturbation in options.perturbations:
            records += self._records(perturbation, self._test(perturbation), "last", options.epochs)
        if state is not None:
            state.clear()
        return records

    def _views(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = make_generator(self._subject.seed, "semi views", epoch)
        store = self._subject.store
        for batch in self._batches.epoch(epoch):
            views = probe_views(
                batch.pixels,
                batch.sizes,
                generator,
                image_size=self._extractor.image_size,
                mean=store.mean,
                std=store.std,
            )
            yield views, batch.labels

    def _measure(self, model: Classifier) -> dict[str, float]:
        return self._test("orig")

    @torch.no_grad()
    def _test(self, perturbation: str) -> dict[str, float]:
        features = self._extractor.perturbed("test", perturbation).to(self._subject.device)
        logits = self._model.head(features[:, self._model.get_buffer("columns")]).cpu()
        ranks = right_ranks(logits, self._test_labels)
        return rank_accuracies(ranks, self._test_labels, logits.shape[1], mean_class=self._mean_class)

    def _records(
        self, perturbation: str, values: dict[str, float], selection: Literal["last", "best"], epoch: int
    ) -> list[Record]:
        return [
            self._subject.record(
                protocol=self._name,
                part=self._part,
                perturbation=perturbation,
                metric=metric,
                value=value,
                n=len(self._test_labels),
                selection=selection,
                epoch=epoch,
            )
            for metric, value in values.items()
        ]


def settings_of(options: FineTuningOptions) -> FineTuningSettings:
    """The settings of the training loop."""
    return FineTuningSettings(
        epochs=options.epochs,
        batch_size=options.batch_size,
        head_rate=options.learning_rate,
        backbone_rate=options.backbone_learning_rate,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        nesterov=options.nesterov,
        precision=options.precision,
    )
