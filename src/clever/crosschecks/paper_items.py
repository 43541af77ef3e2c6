"""Check that the study has the protocols whose records its tables and figures show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clever.drawings import DRAWINGS

if TYPE_CHECKING:
    from clever.config import Study


def paper_faults(study: Study) -> Iterator[str]:
    """Yield a fault for a study without protocols or items, and for each item that lacks its protocol
    or its runs. A study without protocols may draw items that show no record, to pre-train alone."""
    protocols = {name.partition("+")[0] for name in study.evaluation_options()}
    if not protocols and (not study.paper or any("records" in DRAWINGS[item].reads for item in study.paper)):
        yield (
            "evaluations: lists no protocol, so nothing would be measured; add one, for example linear: {}, or draw "
            "only what shows no record, to pre-train alone: paper: [figure_loss_terms]"
        )
        return
    if not study.paper:
        yield "paper: lists no table or figure, so the workflow would produce nothing; add one, for example report"
    for place, item in enumerate(study.paper):
        needed = DRAWINGS[item].shows
        if needed is not None and needed not in protocols:
            yield (
                f"paper.{place}: {item} shows the protocol {needed}, which evaluations does not have; add {needed}: "
                f"{{}} to evaluations, or remove {item} from paper, for example [figure_loss_terms, report]"
            )
        needs = DRAWINGS[item].needs
        missing = None if needs is None else needs(study)
        if missing is not None:
            yield f"paper.{place}: {item} {missing}, or remove {item} from paper"
