"""Read a study file, rejecting hostile or ambiguous YAML.

YAML's own loaders silently resolve a repeated key, read ``010`` as 8, let a few hundred bytes of merge keys and
aliases grow to millions of nodes, and raise arbitrary exceptions. This loader rejects each of these with its location.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from clever.errors import UserError
from clever.parsing import foreign, read_text, reason

SIZE_LIMIT = 1_000_000
"""Size limit of a study file in bytes; the largest of this project has 7,000."""

DEPTH_LIMIT = 40
"""Largest nesting depth; a study needs 8."""

NODE_LIMIT = 50_000
"""Number of keys and values after expanding aliases and merges; the largest study of this project needs 1,500."""

DIGIT_LIMIT = 30
"""Largest number of characters in a number; a float64 needs 24."""


def read_study(path: Path) -> object:
    """The content of a study file, not yet validated.

    Raises:
        UserError: the file is missing, not a regular file, not YAML, too large or nested too deeply, repeats a key, or
            has a key that is a mapping or list, or a number that YAML interprets unexpectedly.
    """
    with foreign(path, "cannot be read"):
        text = read_text(path, SIZE_LIMIT)
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    except Exception as error:
        raise UserError(f"{path}: not valid YAML: {reason(error)}") from error


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe loader with limits and strict values; all faults are detected while the nodes are composed."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._place: list[str] = []
        self._sizes: dict[int, int] = {}
        self._count = 0
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose one node and all nodes below it; counts nodes with aliases expanded."""
        key = index.value if isinstance(index, yaml.ScalarNode) else index
        named = key is not None
        if named:
            self._place.append(str(key)[:60])
        self._depth += 1  # deeper than a key that is itself a mapping
        if self._depth > DEPTH_LIMIT:
            raise self._fault(f"nested more than {DEPTH_LIMIT} deep")
        alias = self.check_event(yaml.AliasEvent)
        before = self._count
        node = super().compose_node(parent, index)
        if alias:
            if id(node) not in self._sizes:
                raise self._fault("an alias inside the block that it refers to")
            self._count += self._sizes[id(node)]
        else:
            self._count += 1
            self._sizes[id(node)] = self._count - before
        if self._count > NODE_LIMIT:
            raise self._fault(f"more than {NODE_LIMIT} keys and values after expanding aliases")
        if isinstance(node, yaml.ScalarNode) and not alias:
            self._check_scalar(node)
        self._depth -= 1
        if named:
            self._place.pop()
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping; its keys must be distinct plain values."""
        node = super().compose_mapping_node(anchor)
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                continue
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                kind = "mapping" if isinstance(key_node, yaml.MappingNode) else "list"
                raise self._fault(f"a {kind} as a key (line {line}); quote it if it is a name")
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise self._fault(f"the key {key!r} appears twice (line {line})")
            seen.add(key)
        return node

    def _check_scalar(self, node: yaml.ScalarNode) -> None:
        line = node.start_mark.line + 1
        if node.tag in (_INTEGER, _FLOAT):
            if len(node.value) > DIGIT_LIMIT:
                raise self._fault(f"a number of {len(node.value)} characters (line {line})")
            if _OCTAL.fullmatch(node.value):
                raise self._fault(f"{node.value} is octal in YAML (line {line}); write it without the leading 0")
            if ":" in node.value:
                raise self._fault(f"{node.value} is a base-60 number in YAML (line {line}); quote it")
        if node.tag == _MERGE:
            return
        try:
            self.construct_object(node, deep=True)
        except yaml.YAMLError:
            raise
        except Exception as error:
            value = node.value if len(node.value) <= 40 else node.value[:40] + "…"
            kind = node.tag.rpartition(":")[2]
            raise self._fault(f"{value!r} cannot be read as a {kind} ({reason(error)}) (line {line})") from error

    def _fault(self, what: str) -> yaml.YAMLError:
        place = ".".join(self._place if len(self._place) <= 8 else [*self._place[:8], "…"])
        return yaml.constructor.ConstructorError(None, None, f"{place}: {what}" if place else what)


_MERGE = "tag:yaml.org,2002:merge"
_INTEGER = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_OCTAL = re.compile(r"[-+]?0[0-7_]+")
