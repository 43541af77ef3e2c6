"""Protocol ``transfer``: evaluate the backbone on another labelled data set of the study.

Three modes: ``linear`` is the paper's linear probe (clever's eval_linear_ds.py: 200 epochs of SGD at 0.001 for a batch
of 256), ``logistic`` is the linear protocol of the transfer literature (Kornblith et al. 2019), and ``finetune`` is the
paper's fine-tuning of backbone and classifier. They run the protocols ``linear``, ``logistic``, and ``semi`` with all
labels, on the other data set's training and test images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from clever.backbones import BackboneOptions, build_backbone
from clever.data.registry import SOURCES
from clever.evaluation import linear, logistic
from clever.evaluation.fine_tuned import FineTuning
from clever.evaluation.options.fine_tuning import FineTuningOptions
from clever.evaluation.options.linear import LinearOptions
from clever.evaluation.options.transfer import Mode, TransferOptions
from clever.evaluation.parts import part_selections
from clever.evaluation.subject import Subject
from clever.results.records import Record
from clever.results.run_id import PIXELS


def evaluate(subject: Subject, options: TransferOptions) -> list[Record]:
    """Train and test on the data set in ``subject.store``, in each mode.

    Records: the same as for the mode's protocol, plus ``mean_class`` in every mode, under ``transfer_linear+<data>``,
    ``transfer_logistic+<data>`` and ``transfer_finetune+<data>``. The control ``pixels`` uses pixels at the evaluated
    size, whatever the runs' training size is.

    Raises:
        UserError: as for the modes' protocols.
    """
    data = options.evaluation_data()
    source = subject.store.info["options"]["source"]
    mean_class = source in SOURCES and SOURCES[source].mean_class
    subject.note("metric that the literature reports", "mean_class" if mean_class else "top1")
    if subject.identity.backbone == PIXELS:
        size = options.image_size or subject.store.split("test").image_size
        if size is not None and size != getattr(subject.backbone, "image_size", size):
            pixels = build_backbone(BackboneOptions(name=PIXELS, image_size=size), seed=0)
            subject = replace(subject, backbone=pixels, features=None)
    return [
        replace(record, protocol=f"transfer_{mode}{subject.variant or f'+{data}'}")
        for mode in options.modes
        for record in _MODES[mode](subject, options.of_mode(mode, mean_class))
    ]


def _linear(subject: Subject, options: LinearOptions) -> list[Record]:
    return linear.evaluate(subject, options, mean_class=True)


def _finetune(subject: Subject, options: FineTuningOptions) -> list[Record]:
    blocks = options.last_blocks if subject.backbone.has_blocks else 1
    parts = part_selections(subject.backbone.feature_dim, subject.ir_dim, blocks)
    rows = torch.arange(len(subject.store.split("train")))
    return [
        record
        for part in options.parts
        if part in parts
        for record in FineTuning(subject, options, "finetune", part, parts[part], rows, mean_class=True).run()
    ]


_MODES: dict[Mode, Callable[[Subject, Any], list[Record]]] = {
    "linear": _linear,
    "logistic": logistic.evaluate,
    "finetune": _finetune,
}
