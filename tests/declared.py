"""Declarations in the test file of a registered item, read by the tests that cover all items of its kind."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent


def declared(room: str, name: str, constant: str) -> Any:
    """The literal that an item's test file assigns to ``constant`` at its top level; None if there is no assignment.

    Files are read, not imported, because an import may skip or fail.

    Args:
        room: a folder of tests, for example ``baselines``.
        name: the item's name in the registry. Its test file is ``test_<name>.py``, ``<name>/test_protocol.py``, or its
            family's file, such as ``test_relative.py`` for ``relative_rotation``.
        constant: ``TINY`` or another name; the callers document them.
    """
    family = name.partition("_")[0]
    for file in (f"test_{name}.py", f"{name}/test_protocol.py", f"test_{family}.py"):
        path = TESTS / room / file
        if path.is_file():
            for statement in ast.parse(path.read_text(encoding="utf-8"), filename=str(path)).body:
                targets = (
                    statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
                )
                if any(isinstance(target, ast.Name) and target.id == constant for target in targets):
                    return ast.literal_eval(statement.value)  # type: ignore[attr-defined]
    return None
