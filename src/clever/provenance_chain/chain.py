"""The result of following a chain: its files, and the statements that agree or differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Link:
    """One file of a chain: its kind, its path, and its statements about the number."""

    what: str
    where: str
    facts: dict[str, Any]


@dataclass
class Chain:
    """The files behind the records of one evaluation, or behind one run.

    ``holds`` lists the comparisons that agree, ``broken`` those that differ (one line each, with both sides), and
    ``missing`` those that are impossible because a file is missing.
    """

    run: str
    protocol: str | None
    records: list[dict[str, Any]]
    links: list[Link] = field(default_factory=list)
    holds: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def compare(self, what: str, first: tuple[object, object], second: tuple[object, object]) -> None:
        """Record whether two sides, each a pair (place, value), agree."""
        (here, found), (there, expected) = first, second
        if found == expected:
            self.holds.append(f"{what}: {here} and {there} agree")
        else:
            self.broken.append(f"{self.run}: {what}: {here} says {_short(found)}, {there} says {_short(expected)}")


def shown(chain: Chain) -> str:
    """A chain as readable text."""
    lines = [chain.run if chain.protocol is None else f"{chain.run}, {chain.protocol}"]
    lines += [
        f"  record      {r['part']} {r['perturbation']} {r['metric']} ({r['selection']}, epoch {r['epoch']}): "
        f"{r['value']:.10g} over {r['n']} images"
        for r in chain.records
    ]
    for link in chain.links:
        lines.append(f"  {link.what:<11} {link.where}")
        lines += [f"    {key}: {_flat(value)}" for key, value in link.facts.items()]
    lines.append(f"  {len(chain.holds)} comparisons hold, {len(chain.broken)} do not")
    lines += [f"  BROKEN      {line}" for line in chain.broken]
    lines += [f"  not here    {line}" for line in chain.missing]
    return "\n".join(lines)


def as_mapping(chain: Chain) -> dict[str, Any]:
    """A chain as lists and mappings that JSON can hold."""
    return asdict(chain)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _flat(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_flat(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "; ".join(map(_flat, value))
    return "not recorded" if value is None else str(value)
