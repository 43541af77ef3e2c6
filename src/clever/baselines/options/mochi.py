"""Options of MoCHi."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt, PositiveInt, model_validator

from clever.baselines.options.moco_v2 import QueueOptions


class MochiOptions(QueueOptions):
    """MoCHi's settings. The numbers of negatives are from an unofficial implementation (hard-negative-mixing,
    src/moco.py), because our sources do not contain the paper's settings. The epoch at which mixing starts is our
    choice."""

    name: Literal["mochi"] = "mochi"
    hardest: PositiveInt = 32
    """Number of hardest negatives, those in the queue nearest to the query, that are mixed. At most
    ``queue_length``."""
    mixed_negatives: NonNegativeInt = 16
    """Number of further negatives per query that mix two of the hardest."""
    mixed_with_query: NonNegativeInt = 16
    """Number of further negatives per query that mix the query with one of the hardest; the query's share is below one
    half."""
    start_epoch: NonNegativeInt = 10
    """Epoch from which negatives are mixed. Before that epoch no negative is hard yet."""

    @model_validator(mode="after")
    def _hardest_are_in_the_queue(self) -> MochiOptions:
        if self.hardest > self.queue_length:
            raise ValueError(f"hardest {self.hardest} exceeds queue_length {self.queue_length}; lower it")
        return self
