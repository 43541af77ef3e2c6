"""What every protocol lets a study choose."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, NonNegativeInt, StringConstraints, model_validator

from clever.errors import UserError
from clever.options import Options, parse


class ProtocolOptions(Options):
    """The seed of an evaluation, and the same protocol under other settings."""

    seed: NonNegativeInt = 0
    """Of the perturbations, the training views and the classifier's start. The same for every run of a study, whatever
    its own seed, so that runs are compared on the very same images."""
    variants: dict[Annotated[str, StringConstraints(pattern="^[A-Za-z0-9_]+$")], dict[str, Any]] = Field(default={})
    """The protocol once more with some settings replaced, as in ``{averaged: {averaging: {count: 30}}}``. The records
    of that variant bear the name <protocol>+averaged. Use it to compare two ways of evaluating the same runs."""

    @model_validator(mode="after")
    def _variants_fit(self) -> Self:
        try:
            self.expanded()
        except UserError as error:  # pydantic adds the place of this block to a ValueError only
            raise ValueError(str(error)) from error
        return self

    def expanded(self) -> dict[str | None, Self]:
        """The settings of the protocol itself (None) and of each of its variants, by name, without further variants.

        Raises:
            UserError: a variant's settings are wrong.
        """
        own = self.model_dump(exclude={"variants"})
        found: dict[str | None, Self] = {None: self.model_copy(update={"variants": {}})}
        for name, replaced in self.variants.items():
            if "variants" in replaced:
                raise UserError(f"variants.{name}: a variant has no variants of its own")
            found[name] = parse(type(self), own | replaced, f"variants.{name}")
        return found
