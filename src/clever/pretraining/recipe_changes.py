"""Describe the differences between two recipes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

SHOWN = 6
"""Differences that a message names; it counts the others."""


def recipe_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The keys in which two recipes (as JSON objects) differ, with both values; empty if they are equal."""
    changes = list(_changes("", before, now))
    more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    return ", ".join(changes[:SHOWN]) + more


def _changes(place: str, before: Any, now: Any) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in sorted({*before, *now}):
            inner = f"{place}.{key}" if place else str(key)
            yield from _changes(inner, before.get(key, _ABSENT), now.get(key, _ABSENT))
    elif before != now:
        yield f"{place} was {_shown(before)} and is {_shown(now)}"


_ABSENT = object()


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "not there"
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 60 else f"{text[:60]}…"
