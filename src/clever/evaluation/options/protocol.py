"""Options shared by all protocols."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, NonNegativeInt, StringConstraints, model_validator

from clever.errors import UserError
from clever.options import Options, parse


class ProtocolOptions(Options):
    """The seed of an evaluation, and variants of the protocol with other settings."""

    seed: NonNegativeInt = 0
    """Seed of the perturbations, the training views and the classifier's initial weights. It is the same for all runs
    of a study, whatever their seeds, so that runs are compared on the same images."""
    variants: dict[Annotated[str, StringConstraints(pattern="^[A-Za-z0-9_]+$")], dict[str, Any]] = Field(default={})
    """Variants of the protocol with some settings replaced, for example ``{averaged: {averaging: {count: 30}}}``. The
    records of this variant are named <protocol>+averaged. Use variants to compare different evaluations of the same
    runs."""

    @model_validator(mode="after")
    def _variants_fit(self) -> Self:
        try:
            self.expanded()
        except UserError as error:  # pydantic adds the place of this block to a ValueError only
            raise ValueError(str(error)) from error
        return self

    def named(self, protocol: str) -> dict[str, ProtocolOptions]:
        """The evaluations that this block defines, by name: ``<protocol>`` and ``<protocol>+<variant>``."""
        found: dict[str, ProtocolOptions] = {}
        for variant, settings in self.expanded().items():
            found[protocol if variant is None else f"{protocol}+{variant}"] = settings
        return found

    def at(self, data_root: str) -> Self:
        """The same block with the paths in it joined to ``data_root``."""
        return self

    def require(self) -> None:
        """Check that the files and folders that the block names exist, without reading data.

        Raises:
            UserError: something is missing; the message names it and its expected place.
        """

    def check_folder(self) -> None:
        """Like ``require``, with advice on how to name another folder."""
        self.require()

    def listed_files(self) -> tuple[str, ...]:
        """Paths of small files whose content affects the records."""
        return ()

    def evaluation_data(self) -> str | None:
        """Name of the study's data set on which to evaluate; None: the run's data set, or one that the protocol reads
        itself."""
        return None

    def most_last_blocks(self) -> int | None:
        """The largest number of a transformer's last blocks that is used; None if there is no such setting."""
        last: int | None = getattr(self, "last_blocks", None)
        return last

    def expanded(self) -> dict[str | None, Self]:
        """The settings of the protocol itself (None) and of each of its variants by name, without further variants.

        Raises:
            UserError: a variant's settings are wrong.
        """
        own = self.model_dump(exclude={"variants"})
        found: dict[str | None, Self] = {None: self.model_copy(update={"variants": {}})}
        for name, replaced in self.variants.items():
            if "variants" in replaced:
                raise UserError(f"variants.{name}: a variant cannot have variants")
            found[name] = parse(type(self), own | replaced, f"variants.{name}")
        return found
