"""Options of protocol ``transfer``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from clever.errors import UserError
from clever.evaluation.options.features import FeatureOptions
from clever.evaluation.options.fine_tuning import FineTuningOptions
from clever.evaluation.options.linear import LinearOptions
from clever.evaluation.options.logistic import LogisticOptions
from clever.evaluation.options.protocol import ProtocolOptions
from clever.options import parse
from clever.results.run_id import Name

Mode = Literal["linear", "logistic", "finetune"]

_OPTIONS: dict[Mode, type[FeatureOptions]] = {
    "linear": LinearOptions,
    "logistic": LogisticOptions,
    "finetune": FineTuningOptions,
}
_PAPER: dict[Mode, dict[str, Any]] = {"linear": {"epochs": 200}, "logistic": {}, "finetune": {}}
"""The paper's settings for downstream data that differ from the defaults of the mode's protocol."""


class TransferOptions(FeatureOptions):
    """The data sets and the modes. The defaults are the paper's."""

    data: list[Name] = Field(min_length=1)
    """Names from the study's ``data``: labelled data sets with training and test images, such as pets or flowers102.
    Each data set has separate records, such as transfer_linear+pets, and a separate file."""
    modes: list[Mode] = Field(default=["linear", "finetune"], min_length=1)
    """linear: the paper's probe. finetune: backbone and classifier trained together. logistic: L-BFGS on frozen
    features with a chosen penalty, as in the transfer literature."""
    perturbations: list[str] = Field(default=["orig"], min_length=1)
    """The perturbations to report, including orig for clean images. The paper reports only clean images."""
    linear: dict[str, Any] = Field(default={})
    """Settings of the mode linear: options of the protocol linear, for example {epochs: 50}; 200 epochs if omitted."""
    logistic: dict[str, Any] = Field(default={})
    """Settings of the mode logistic: options of the protocol logistic. The penalty is chosen by mean_class if the
    literature reports it (pets, flowers102, caltech101, aircraft), otherwise by top1."""
    finetune: dict[str, Any] = Field(default={})
    """Settings of the mode finetune: options of the protocol semi without its shares, for example {epochs: 50}."""

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
        """The options of the protocol that a mode uses.

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
        """The data set, for options with a single one."""
        if len(self.data) > 1:
            raise UserError(f"transfer: {', '.join(self.data)}: an evaluation file is for one data set; name one")
        return self.data[0]

    def most_last_blocks(self) -> int | None:
        """The largest number of a transformer's last blocks that a mode uses."""
        return max(int(self.of_mode(mode).last_blocks) for mode in self.modes)
