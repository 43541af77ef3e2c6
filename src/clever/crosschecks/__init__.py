"""What cannot end well is refused before anything runs: checks of a study's parts against each other and its stores.

Each module holds one kind of check: a function that yields one line a fault, with the key and what would be right. They
read options alone (and the description of a prepared store), so that ``clever check`` stays quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from clever.crosschecks.batches import batch_faults
from clever.crosschecks.data_needs import data_faults
from clever.crosschecks.image_sizes import size_faults
from clever.crosschecks.magnitudes import magnitude_faults
from clever.crosschecks.paper_items import paper_faults
from clever.crosschecks.prepared import prepared_faults
from clever.crosschecks.protocol_needs import need_faults
from clever.errors import UserError

if TYPE_CHECKING:
    from clever.config import Study

CHECKS: tuple[Callable[[Study], Iterator[str]], ...] = (
    paper_faults,
    magnitude_faults,
    size_faults,
    data_faults,
    batch_faults,
    need_faults,
)


def refuse_contradictions(study: Study, source: str, from_measured: bool = False) -> None:
    """Refuse a study of which a part cannot end well.

    Args:
        study: checked key by key already.
        source: the file's name, for the message.
        from_measured: whether committed records are drawn and nothing is measured: items then need no protocol.

    Raises:
        UserError: one line with the first fault, and how many more there are.
    """
    checks = [check for check in CHECKS if not (from_measured and check is paper_faults)]
    _raise_first([fault for check in checks for fault in check(study)], source)


def refuse_for_stores(study: Study, results: Path, source: str) -> None:
    """Refuse a study that cannot end well with what ``results/<study>/data`` holds of its prepared stores.

    Raises:
        UserError: as :func:`refuse_contradictions`.
    """
    _raise_first(list(prepared_faults(study, results / study.study / "data")), source)


def _raise_first(faults: list[str], source: str) -> None:
    distinct = list(dict.fromkeys(faults))
    if distinct:
        more = f" (and {len(distinct) - 1} more)" if len(distinct) > 1 else ""
        raise UserError(f"{source}: {distinct[0]}{more}")
