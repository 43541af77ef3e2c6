"""The words for the terms of an add-on's objective, from ``paper_figures/terms/<add-on>.yaml``.

They are not in the add-on's own file because that is training code: rewording a figure must not make a run stale.
Without a file, an add-on has one term for each of its options ``<term>_weight``; a test compares names and weights with
the terms that training computes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from clever.equivariance import EquivarianceOptions
from clever.errors import UserError
from clever.options import Options, parse
from clever.study_file import read_study

FOLDER = Path(__file__).with_name("terms")
CONTRAST = "contrast"
"""The baseline's own loss, the first term of every add-on."""
SUFFIX = "_weight"


class Wording(Options):
    """How figures name a term of the objective, which is a key of the file."""

    words: str
    """A few words for the quantity that the term lowers; ``{baseline}`` is replaced by the baseline's name."""
    weight: str | float
    """The option that holds the term's weight, or the weight itself; a file may leave out ``<term>_weight``, and 1 for
    ``contrast``."""
    parts: tuple[str, ...] | Literal["first"] = ()
    """The parts of the representation whose heads the term reads. Empty if it reads the add-on's layers or the
    features."""

    def weight_in(self, options: EquivarianceOptions) -> float | None:
        """The term's weight with these options; None if they leave the term out, which a weight of 0 does if 0 is also
        the option's default."""
        if not isinstance(self.weight, str):
            return self.weight
        weight = float(getattr(options, self.weight))
        return None if weight == 0 == type(options).model_fields[self.weight].default else weight


_BASELINES_LOSS = {"words": "loss of {baseline} between the views", "parts": "first"}


def wordings(options: EquivarianceOptions, folder: Path = FOLDER) -> dict[str, Wording]:
    """Every term that the add-on's objective can have, by its name, in the order in which figures list them.

    Args:
        options: the add-on's options.
        folder: where the files are.

    Raises:
        UserError: the add-on's file is not a mapping from terms to their words, or names an option that the add-on does
            not have.
    """
    add_on, fields = options.name, type(options).model_fields
    file = folder / f"{add_on}.yaml"
    content: object = {
        name.removesuffix(SUFFIX): {"words": f"a term of {add_on}"} for name in fields if name.endswith(SUFFIX)
    }
    if file.is_file():
        content = read_study(file)
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise UserError(f"{file}: must hold a mapping for each term, for example essl: {{words: …}}")
    own = content.pop(CONTRAST, {})
    found = {CONTRAST: parse(Wording, {"weight": 1.0} | _BASELINES_LOSS | own, f"{file}: {CONTRAST}")}
    for name, entry in content.items():
        found[name] = parse(Wording, {"weight": f"{name}{SUFFIX}"} | entry, f"{file}: {name}")
    for name, wording in found.items():
        if isinstance(wording.weight, str) and wording.weight not in fields:
            raise UserError(f"{file}: {name}.weight: {add_on} has no option {wording.weight}")
    return found
