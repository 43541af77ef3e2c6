"""The verdict on every statement of the paper's claims."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from claims import Statement
from differences import CONFIDENCE
from pooled_differences import LOWER, SUPPORTED, Pooled, holm, judge, pool


@dataclass(frozen=True)
class Finding:
    """A statement with its verdict over all runs, and over the comparisons in which every run was healthy."""

    statement: Statement
    pooled: Pooled
    verdict: str
    healthy: Pooled
    healthy_verdict: str
    p_holm: float

    @property
    def shown(self) -> str:
        """The verdict, with a warning if it does not survive the correction for the number of statements."""
        is_hint = self.verdict in (SUPPORTED, LOWER) and self.p_holm > 1 - CONFIDENCE
        return f"{self.verdict} (a hint)" if is_hint else self.verdict

    @property
    def changes_without_unhealthy(self) -> bool:
        """Whether any comparison includes an unhealthy run."""
        return len(self.healthy.comparisons) != len(self.pooled.comparisons)


def find(found: Sequence[Statement], unhealthy: Iterable[str]) -> list[Finding]:
    """The verdict on every statement, with p-values corrected for the number of statements that have one."""
    pooled = [pool(statement.claimed) for statement in found]
    healthy = [pool(statement.without(unhealthy).claimed) for statement in found]
    corrected = holm([one.p_value for one in pooled])
    return [
        Finding(
            statement,
            everything,
            judge(everything.difference, statement.margin),
            kept,
            judge(kept.difference, statement.margin),
            p_value,
        )
        for statement, everything, kept, p_value in zip(found, pooled, healthy, corrected, strict=True)
    ]
