"""Cross-checks: compare the parts of a study with each other and with its stores, before anything runs.

Each module holds one kind of check: a function that yields one line per fault, with the key and a value that would be
right. The checks read only options (and the description of a prepared store), so that ``clever check`` stays fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from clever.crosschecks.batches import batch_faults
from clever.crosschecks.data_needs import data_faults
from clever.crosschecks.feature_maps import map_faults
from clever.crosschecks.image_sizes import size_faults
from clever.crosschecks.initial_weights import weight_faults
from clever.crosschecks.magnitudes import magnitude_faults
from clever.crosschecks.online_probe import probe_faults
from clever.crosschecks.paper_items import paper_faults
from clever.crosschecks.prepared import prepared_faults
from clever.crosschecks.protocol_needs import need_faults
from clever.crosschecks.stages import stage_faults
from clever.errors import UserError

if TYPE_CHECKING:
    from clever.config import Study

CHECKS: tuple[Callable[[Study], Iterator[str]], ...] = (
    paper_faults,
    magnitude_faults,
    size_faults,
    map_faults,
    stage_faults,
    data_faults,
    batch_faults,
    need_faults,
    probe_faults,
    weight_faults,
)


def refuse_contradictions(study: Study, source: str, from_measured: bool = False) -> None:
    """Reject a study whose options contradict each other.

    Args:
        study: each key is already validated.
        source: the name of the study's file, for the message.
        from_measured: whether committed records are drawn and nothing is measured; items then require no protocol.

    Raises:
        UserError: one line with the first fault and the number of further faults.
    """
    checks = [check for check in CHECKS if not (from_measured and check is paper_faults)]
    _raise_first([fault for check in checks for fault in check(study)], source)


def refuse_for_stores(study: Study, results: Path, source: str) -> None:
    """Reject a study that contradicts its prepared stores in ``results/<study>/data``.

    Raises:
        UserError: see :func:`refuse_contradictions`.
    """
    _raise_first(list(prepared_faults(study, results / study.study / "data")), source)


def _raise_first(faults: list[str], source: str) -> None:
    distinct = list(dict.fromkeys(faults))
    if distinct:
        more = f" (and {len(distinct) - 1} more)" if len(distinct) > 1 else ""
        raise UserError(f"{source}: {distinct[0]}{more}")
