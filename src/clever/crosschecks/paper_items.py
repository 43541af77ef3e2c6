"""Tables and figures against the protocols whose records they show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clever.drawings import DRAWINGS

if TYPE_CHECKING:
    from clever.config import Study


def paper_faults(study: Study) -> Iterator[str]:
    """No protocol, no item, and items of protocols that the study does not have."""
    protocols = study.evaluation_options()
    if not protocols:
        yield "evaluations: names no protocol, so nothing would be measured; add one, for example linear: {}"
        return
    if not study.paper:
        yield "paper: names no table or figure, so the workflow would make nothing; add one, for example report"
    for place, item in enumerate(study.paper):
        needed = DRAWINGS[item].shows
        if needed is not None and needed not in protocols:
            yield (
                f"paper.{place}: {item} shows the protocol {needed}, which evaluations does not have; add {needed}: "
                f"{{}} there, or give paper without {item}, for example [figure_loss_terms, report]"
            )
