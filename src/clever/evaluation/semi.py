"""Protocol ``semi``: backbone and classifier fine-tuned on the labels of a small share of the training images.

The paper's settings (clever's eval_linear_ds.py) are the defaults: 1 % and 10 % of the labels, 200 epochs of SGD at
0.001 for a batch of 256 with a cosine by epoch, weight decay 1e-4, random resized crops and flips. A share of 1
fine-tunes on all labels.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, field_validator

from clever.evaluation.fine_tuned import FineTuning, FineTuningOptions
from clever.evaluation.labelled_subset import stratified_subset
from clever.evaluation.parts import part_selections
from clever.evaluation.subject import Subject
from clever.results.records import Record

Share = Annotated[float, Field(gt=0.0, le=1.0)]


class SemiOptions(FineTuningOptions):
    """The share of labels, and the fine-tuning on them. The defaults are the paper's."""

    shares: list[Share] = Field(default=[0.01, 0.1], min_length=1)
    """Shares of each class's training images that keep their labels, one protocol each (semi1, semi10); at least one
    image per class. 1 fine-tunes on all of them (semi100)."""

    @field_validator("shares")
    @classmethod
    def _each_once(cls, values: list[object]) -> list[object]:
        if len(set(values)) < len(values):
            raise ValueError(f"{values} lists a value twice")
        return values


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
                records += FineTuning(subject, options, name, part, parts[part], torch.from_numpy(rows)).run()
    return records
