"""Check that the data of a probed run have what the online probe needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from clever.pretraining.online_probe_needs import probe_refusal

if TYPE_CHECKING:
    from clever.config import Study


def probe_faults(study: Study) -> Iterator[str]:
    """Yield a fault for each block of probed runs whose data set is known to lack labels or classes."""
    for place, block in enumerate(study.pretrainings):
        data = study.data[block.data]
        reason = probe_refusal(data.labelled, None if data.classes is None else len(data.classes), None)
        if block.online_probe is not None and reason is not None:
            yield f"pretrainings.{place}.online_probe: {reason} (data.{block.data})"


def stored_probe_faults(study: Study, name: str, info: Mapping[str, Any]) -> Iterator[str]:
    """Yield the same faults from the description of the store of one data set."""
    reason = probe_refusal(True, len(info["classes"]) or None, int(info["splits"]["test"]["count"]))
    for place, block in enumerate(study.pretrainings):
        if block.data == name and block.online_probe is not None and reason is not None:
            yield f"pretrainings.{place}.online_probe: {reason} (the store of data.{name})"
