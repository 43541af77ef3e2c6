"""The recipe of one run: everything that decides its result."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Self, Union

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from clever.augmentation import VIEW_MAKERS, ViewOptions
from clever.backbones import BackboneOptions
from clever.baselines import BASELINES, BaselineOptions
from clever.equivariance import EQUIVARIANCES, EquivarianceOptions
from clever.equivariance.options.ddcl import SplitOptions
from clever.equivariance.options.none import NoneOptions
from clever.errors import UserError
from clever.options import Options, parse
from clever.pretraining.options import OnlineProbeOptions, OptimisationOptions, StageOptions
from clever.results.run_id import Name, RunId, VariedName


def _one_of(options: Iterable[type[Options]]) -> Any:
    """The type of "any of these blocks, chosen by its ``name``"."""
    options = tuple(options)
    return Annotated[Union[options], Field(discriminator="name")] if len(options) > 1 else options[0]  # noqa: UP007


if TYPE_CHECKING:
    BaselineChoice = BaselineOptions
    EquivarianceChoice = EquivarianceOptions
    AugmentationChoice = ViewOptions
else:
    BaselineChoice = _one_of(entry.options for entry in BASELINES.values())
    EquivarianceChoice = _one_of(entry.options for entry in EQUIVARIANCES.values())
    AugmentationChoice = _one_of(VIEW_MAKERS)


class MethodOptions(Options):
    """A method: one baseline and one equivariance add-on."""

    baseline: BaselineChoice
    """How two views are compared."""
    equivariance: EquivarianceChoice = NoneOptions()
    """The equivariance add-on; none trains the baseline alone."""

    @model_validator(mode="after")
    def _add_on_fits(self) -> Self:
        reason = self.equivariance.baseline_refusal(self.baseline)
        if reason is not None:
            raise ValueError(reason)
        return self

    @model_validator(mode="after")
    def _ef_baseline_fits(self) -> Self:
        if isinstance(self.equivariance, SplitOptions):
            kind = BASELINES[self.baseline.name].options
            try:
                parse(kind, self.baseline.model_dump() | self.equivariance.ef_baseline, "equivariance.ef_baseline")
            except UserError as error:  # pydantic adds the location of this block only to a ValueError
                raise ValueError(str(error)) from error
        return self


class RunRecipe(Options):
    """Everything that decides the result of one run, and nothing else.

    It does not contain the prepared data, which are a separate input, identified by their checksum.
    """

    data: Name
    backbone_name: Name
    backbone: BackboneOptions
    method_name: VariedName
    method: MethodOptions | None
    """None for a control run, which is not trained."""
    augmentation_name: VariedName
    augmentation: AugmentationChoice | None
    optimisation: OptimisationOptions | None
    seed: int
    online_probe: OnlineProbeOptions | None = None
    """The online probe; it only adds columns to metrics.csv."""
    stage: StageOptions | None = None
    """How batches are formed from earlier runs; None except for the later runs of a chain."""

    @model_serializer(mode="wrap")
    def _without_absent_blocks(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit an absent probe or stage, so that the recipe keeps the digest that it had before these blocks
        existed."""
        content: dict[str, Any] = dump(self)
        optional = ("online_probe", "stage")
        return {key: value for key, value in content.items() if key not in optional or value is not None}

    @property
    def earlier_files(self) -> list[str]:
        """The files of other runs, and of initial weights, that must exist before the run starts."""
        return [*self.backbone.initial_files, *([] if self.stage is None else self.stage.files)]

    @property
    def run(self) -> str:
        """The run's id, a readable path."""
        axes = self.data, self.backbone_name, self.method_name, self.augmentation_name
        return RunId(*axes, self.seed).run

    @property
    def digest(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the recipe's canonical JSON."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:16]
