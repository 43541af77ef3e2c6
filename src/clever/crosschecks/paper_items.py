"""Check that the study has the protocols whose records its tables and figures show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clever.config import Study

SHOWS = {
    "table_1": "linear",
    "table_matrix": "linear",
    "table_latents": "latents",
    "figure_robustness": "linear",
}
"""Item to the protocol that it requires; other items draw whatever records exist."""


def paper_faults(study: Study) -> Iterator[str]:
    """Yield a fault for a study without protocols or items, and for each item whose protocol is missing."""
    if study.from_measured:
        return  # the records are committed: this study measures nothing
    protocols = study.evaluation_options()
    if not protocols:
        yield "evaluations: lists no protocol, so nothing would be measured; add one, for example linear: {}"
        return
    if not study.paper:
        yield "paper: lists no table or figure, so the workflow would produce nothing; add one, for example report"
    for place, item in enumerate(study.paper):
        needed = SHOWS.get(item)
        if needed is not None and needed not in protocols:
            yield (
                f"paper.{place}: {item} shows the protocol {needed}, which evaluations does not have; add {needed}: "
                f"{{}} to evaluations, or remove {item} from paper, for example [figure_loss_terms, report]"
            )
