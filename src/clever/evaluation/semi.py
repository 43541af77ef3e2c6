"""Protocol ``semi``: backbone and classifier fine-tuned on the labels of a small share of the training images.

The paper's settings (clever's eval_linear_ds.py) are the defaults: 1 % and 10 % of the labels, 200 epochs of SGD at
0.001 for a batch of 256 with a cosine by epoch, weight decay 1e-4, random resized crops and flips. A share of 1
fine-tunes on all labels.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator
from torch import Tensor

from clever.augmentation import probe_views
from clever.data import Batches
from clever.evaluation.features import FeatureExtractor, FeatureOptions
from clever.evaluation.finetuning import Classifier, FineTuningRecipe, Progress, fine_tune
from clever.evaluation.labelled_subset import stratified_subset
from clever.evaluation.pace import Pace
from clever.evaluation.parts import Selection, part_selections
from clever.evaluation.resumption import ResumableState
from clever.evaluation.subject import Subject
from clever.randomness import derive_seed, make_generator
from clever.results.records import Record

Share = Annotated[float, Field(gt=0.0, le=1.0)]


class SemiOptions(FeatureOptions):
    """The share of labels, and the fine-tuning on them. The defaults are the paper's."""

    shares: list[Share] = Field(default=[0.01, 0.1], min_length=1)
    """Shares of each class's training images that keep their labels, one protocol each (semi1, semi10); at least one
    image per class. 1 fine-tunes on all of them (semi100)."""
    parts: list[Literal["ALL", "IR", "EF"]] = Field(default=["ALL", "IR"], min_length=1)
    """The parts that the classifier sees; each part is fine-tuned separately. The paper has ALL and IR."""
    epochs: PositiveInt = 200
    """Passes over the labelled images; fewer for a quick look."""
    batch_size: PositiveInt = 256
    """Images per step; lower it when memory runs out, and the learning rates are scaled with it."""
    learning_rate: PositiveFloat = 0.001
    """Learning rate of the classifier for a batch of 256; it is multiplied by batch_size / 256."""
    backbone_learning_rate: NonNegativeFloat = 0.001
    """Learning rate of the backbone for a batch of 256; 0 freezes it, which makes this a linear probe on few labels."""
    momentum: NonNegativeFloat = 0.9
    """Momentum of the SGD."""
    weight_decay: NonNegativeFloat = 1e-4
    """L2 penalty on all weights, those of normalisations and biases too."""
    last_blocks: PositiveInt = 4
    """Number of a transformer's last blocks whose class tokens are used; other backbones use their output vector."""
    best_epoch: bool = True
    """Test after every epoch and record the highest accuracy, which the authors print; false saves that time."""

    @field_validator("shares", "parts")
    @classmethod
    def _each_once(cls, values: list[object]) -> list[object]:
        if len(set(values)) < len(values):
            raise ValueError(f"{values} lists a value twice")
        return values

    def recipe(self) -> FineTuningRecipe:
        """The settings of the training loop."""
        return FineTuningRecipe(
            epochs=self.epochs,
            batch_size=self.batch_size,
            head_rate=self.learning_rate,
            backbone_rate=self.backbone_learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            precision=self.precision,
        )


def evaluate(subject: Subject, options: SemiOptions) -> list[Record]:
    """Fine-tune a copy of the backbone for each share and part, and test it under each perturbation.

    Records: ``top1`` and, with five classes or more, ``top5``, in percent of the test images; ``last`` for every
    perturbation, ``best`` for ``orig`` (the epoch with the highest top1, the earliest of equals). A killed evaluation
    resumes from its last epoch.

    Raises:
        UserError: classes are missing from the training images, or training diverges.
    """
    records: list[Record] = []
    parts = part_selections(
        subject.backbone.feature_dim, subject.ir_dim, options.last_blocks if subject.backbone.has_blocks else 1
    )
    labels = subject.store.split("train").labels.numpy()
    for share in options.shares:
        rows = stratified_subset(labels, share, subject.seed)
        name = f"semi{100 * share:g}"
        subject.note(f"{name}: rows of the labelled training images", rows.tolist())
        for part in options.parts:
            if part in parts:
                records += _FineTuning(subject, options, name, part, parts[part], torch.from_numpy(rows)).run()
    return records


class _FineTuning:
    """One share and part."""

    def __init__(
        self, subject: Subject, options: SemiOptions, name: str, part: str, columns: Selection, rows: Tensor
    ) -> None:
        self._subject, self._options, self._name, self._part = subject, options, name, part
        blocks = options.last_blocks if subject.backbone.has_blocks else 1
        # The same seed for every part and share: each starts as if it were trained alone.
        backbone = copy.deepcopy(subject.backbone)
        self._model = Classifier(backbone, columns, blocks, len(subject.store.classes), subject.seed).to(subject.device)
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
            options.recipe(),
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
        right = logits.gather(1, self._test_labels[:, None])
        earlier = torch.arange(logits.shape[1]) < self._test_labels[:, None]
        ranks = ((logits > right) | ((logits == right) & earlier)).sum(dim=1)
        # Five guesses among fewer than five classes are always right.
        places = {"top1": 1, "top5": 5} if logits.shape[1] >= 5 else {"top1": 1}
        return {name: 100.0 * int((ranks < place).sum()) / len(ranks) for name, place in places.items()}

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
