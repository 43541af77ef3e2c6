"""Protocol ``transfer``: the backbone on another labelled data set of the study than the one it was trained on.

Three modes: ``linear`` is the paper's linear probe (clever's eval_linear_ds.py: 200 epochs of SGD at 0.001 for a batch
of 256), ``logistic`` the linear protocol of the transfer literature (Kornblith et al. 2019), and ``finetune`` the
paper's fine-tuning of backbone and classifier. Each is the protocol ``linear``, ``logistic`` or ``semi`` with all
labels, on the other data set's training and test images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, Self

import torch
from pydantic import Field, field_validator, model_validator

from clever.backbones import BackboneOptions
from clever.data.registry import SOURCES
from clever.errors import UserError
from clever.evaluation import linear, logistic
from clever.evaluation.features import FeatureOptions
from clever.evaluation.fine_tuned import FineTuning, FineTuningOptions
from clever.evaluation.linear import LinearOptions
from clever.evaluation.logistic import LogisticOptions
from clever.evaluation.options import ProtocolOptions
from clever.evaluation.parts import part_selections
from clever.evaluation.subject import Subject
from clever.options import parse
from clever.results.records import Record
from clever.results.run_id import PIXELS, Name

Mode = Literal["linear", "logistic", "finetune"]

_OPTIONS: dict[Mode, type[FeatureOptions]] = {
    "linear": LinearOptions,
    "logistic": LogisticOptions,
    "finetune": FineTuningOptions,
}
_PAPER: dict[Mode, dict[str, Any]] = {"linear": {"epochs": 200}, "logistic": {}, "finetune": {}}
"""The paper's settings for downstream data where they differ from those of the mode's own protocol."""


class TransferOptions(FeatureOptions):
    """The data sets and the modes. The defaults are the paper's."""

    data: list[Name] = Field(min_length=1)
    """Names from the study's ``data``: labelled data sets with training and test images, such as pets or flowers102.
    Each has its own records, transfer_linear+pets, and its own file."""
    modes: list[Mode] = Field(default=["linear", "finetune"], min_length=1)
    """linear: the paper's probe. finetune: backbone and classifier trained together. logistic: L-BFGS on frozen
    features with a chosen penalty, as in the transfer literature."""
    perturbations: list[str] = Field(default=["orig"], min_length=1)
    """The test-time changes to report, orig among them for clean images. The paper reports clean images only."""
    linear: dict[str, Any] = Field(default={})
    """Settings of the mode linear, those of the protocol linear, for example {epochs: 50}; 200 epochs if omitted."""
    logistic: dict[str, Any] = Field(default={})
    """Settings of the mode logistic, those of the protocol logistic. The penalty is chosen by mean_class where the
    literature reports that (pets, flowers102, caltech101, aircraft), else by top1."""
    finetune: dict[str, Any] = Field(default={})
    """Settings of the mode finetune, those of the protocol semi without its shares, for example {epochs: 50}."""

    @field_validator("data", "modes")
    @classmethod
    def _each_once(cls, values: list[str]) -> list[str]:
        if len(set(values)) < len(values):
            raise ValueError(f"{values} lists a name twice")
        return values

    @field_validator("data")
    @classmethod
    def _names_end_before_a_plus(cls, values: list[str]) -> list[str]:
        for name in values:
            if "+" in name:
                raise ValueError(
                    f"{name}: records are named <protocol>+<data>, so that + cannot be part of data's name"
                )
        return values

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        for mode in _OPTIONS:
            given: Mapping[str, Any] = getattr(self, mode)
            if given and mode not in self.modes:
                raise ValueError(f"{mode}: has settings, but modes lacks it; add {mode} to modes, or remove them")
            shared = sorted(set(given) & set(FeatureOptions.model_fields))
            if shared:
                raise ValueError(f"{mode}.{shared[0]}: is common to all modes; set transfer.{shared[0]} instead")
            try:
                self.of_mode(mode)
            except UserError as error:
                raise ValueError(str(error)) from error
        return self

    def of_mode(self, mode: Mode, mean_class: bool = False) -> Any:
        """The options of one mode's own protocol.

        Args:
            mode: a name of ``modes``.
            mean_class: whether the literature reports the mean over classes for the data set.

        Raises:
            UserError: a setting is wrong.
        """
        shared = self.model_dump(include=set(FeatureOptions.model_fields) - {"variants"})
        chosen = {"choose_by": "mean_class"} if mode == "logistic" and mean_class else {}
        return parse(_OPTIONS[mode], shared | _PAPER[mode] | chosen | getattr(self, mode), mode)

    def named(self, protocol: str) -> dict[str, ProtocolOptions]:
        """One evaluation per data set and variant: ``transfer+pets``, ``transfer+pets+short``."""
        return {
            f"{protocol}+{data}" + ("" if variant is None else f"+{variant}"): settings.model_copy(
                update={"data": [data]}
            )
            for variant, settings in self.expanded().items()
            for data in settings.data
        }

    def evaluation_data(self) -> str | None:
        """The data set, of options for a single one."""
        if len(self.data) > 1:
            raise UserError(f"transfer: {', '.join(self.data)}: an evaluation file is for one data set; name one")
        return self.data[0]

    def most_last_blocks(self) -> int | None:
        """The largest number of a transformer's last blocks that a mode uses."""
        return max(int(self.of_mode(mode).last_blocks) for mode in self.modes)


def evaluate(subject: Subject, options: TransferOptions) -> list[Record]:
    """Train and test on the data set in ``subject.store``, in each mode.

    Records: those of the mode's own protocol, and ``mean_class`` in every mode, under ``transfer_linear+<data>``,
    ``transfer_logistic+<data>`` and ``transfer_finetune+<data>``. The control ``pixels`` takes the pixels of the
    evaluated size, whatever size the runs were trained with.

    Raises:
        UserError: as the modes' own protocols.
    """
    data = options.evaluation_data()
    source = subject.store.info["options"]["source"]
    mean_class = source in SOURCES and SOURCES[source].mean_class
    subject.note("metric that the literature reports", "mean_class" if mean_class else "top1")
    if subject.identity.backbone == PIXELS:
        from clever.backbones import build_backbone  # it imports timm, which reading a study need not

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
