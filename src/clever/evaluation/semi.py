"""Protocol ``semi``: fine-tune backbone and classifier on the labels of a small share of the training images.

The paper's settings (clever's eval_linear_ds.py) are the defaults: 1 % and 10 % of the labels, 200 epochs of SGD at
0.001 for a batch of 256 with a cosine by epoch, weight decay 1e-4, random resized crops and flips. A share of 1
fine-tunes on all labels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from clever.errors import UserError
from clever.evaluation.file_list import read_list
from clever.evaluation.fine_tuned import FineTuning
from clever.evaluation.labelled_subset import listed_subset, missing_names, stratified_subset
from clever.evaluation.notes import note
from clever.evaluation.options.semi import SemiOptions
from clever.evaluation.parts import part_selections
from clever.evaluation.subject import Subject
from clever.results.records import Record


def evaluate(subject: Subject, options: SemiOptions) -> list[Record]:
    """Fine-tune a copy of the backbone for each share and part, and test it under each perturbation.

    Records: ``top1`` and, with five classes or more, ``top5``, in percent of the test images; ``last`` for every
    perturbation, ``best`` for ``orig`` (the epoch with the highest top1, the earliest if equal). A killed evaluation
    resumes from its last epoch.

    Raises:
        UserError: classes are missing from the training images, or training diverges.
    """
    records: list[Record] = []
    parts = part_selections(
        subject.backbone.feature_dim, subject.ir_dim, options.last_blocks if subject.backbone.has_blocks else 1
    )
    labels = subject.store.split("train").labels.numpy()
    chosen = {f"semi{100 * share:g}": stratified_subset(labels, share, subject.seed) for share in options.shares}
    for listed, path in options.lists.items():
        chosen[f"semi_{listed}"] = _listed_rows(subject, Path(path))
    for name, rows in chosen.items():
        subject.note(f"{name}: rows of the labelled training images", rows.tolist())
        for part in options.parts:
            if part in parts:
                records += FineTuning(subject, options, name, part, parts[part], torch.from_numpy(rows)).run()
    return records


def _listed_rows(subject: Subject, path: Path) -> NDArray[np.int64]:
    """The rows of the listed training images; a note reports the number of images that the store lacks.

    Raises:
        UserError: as for ``listed_subset``, or the list has no image of a class.
    """
    store = subject.store
    names, listed = store.names("train"), read_list(path)
    rows = listed_subset(names, listed, str(path))
    absent = missing_names(names, listed, store.classes)
    if absent:
        note(
            f"{path.name}: {len(absent)} of its {len(listed)} images are not in the store though their classes are "
            f"(first: {absent[0]}); {len(rows)} images keep their labels"
        )
    counts = np.bincount(store.split("train").labels.numpy()[rows], minlength=len(store.classes))
    without = [store.classes[label] for label in np.flatnonzero(counts == 0)]
    if without:
        raise UserError(
            f"{path}: lists no image of {len(without)} of the {len(store.classes)} classes (first: {without[0]}); "
            "complete the list, or raise train_limit"
        )
    return rows
