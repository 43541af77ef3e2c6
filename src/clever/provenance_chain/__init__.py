"""Follow and check the chain behind a number: record, evaluation, run, store."""

from __future__ import annotations

from clever.provenance_chain.chain import Chain, Link, as_mapping, shown
from clever.provenance_chain.following import follow

__all__ = ["Chain", "Link", "as_mapping", "follow", "shown"]
