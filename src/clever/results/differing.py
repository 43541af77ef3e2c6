"""Find the first difference between two JSON objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def first_difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """The dotted name of the first key in which two differing mappings differ."""
    absent = object()
    for key in sorted({*first, *second}):
        one, other = first.get(key, absent), second.get(key, absent)
        if one != other:
            nested = isinstance(one, Mapping) and isinstance(other, Mapping)
            return f"{key}.{first_difference(one, other)}" if nested else key
    raise AssertionError("the two do not differ")


def value_at(content: Mapping[str, Any], dotted: str) -> object:
    """The value at a dotted name, as returned by ``first_difference``; "nothing" if the key is absent."""
    for key in dotted.split("."):
        if key not in content:
            return "nothing"
        content = content[key]
    return content
