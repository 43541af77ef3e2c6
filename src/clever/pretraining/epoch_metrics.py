"""The means of an epoch's named scalars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class EpochTotals:
    """Sums each scalar over the steps of an epoch that the guard found finite, and counts the steps that it skipped."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0
        self.skipped = 0

    def add(self, rows: Iterable[Mapping[str, float]], skipped: int = 0) -> None:
        """Add steps to the sums.

        Args:
            rows: the scalars of each finite step, in the order of the steps.
            skipped: number of steps skipped since the last call.
        """
        for row in rows:
            for name, value in row.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
            self.count += 1
        self.skipped += skipped

    def means(self) -> dict[str, float]:
        """The mean of every scalar over the added steps; empty if there are none."""
        return {name: total / self.count for name, total in self.sums.items()}

    def state_dict(self) -> dict[str, Any]:
        """The values that a training state must keep."""
        return {"sums": dict(self.sums), "count": self.count, "skipped": self.skipped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue a saved epoch."""
        self.sums, self.count, self.skipped = dict(state["sums"]), state["count"], state["skipped"]
