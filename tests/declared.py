"""What the test file of a registered item declares for the tests of all items of its kind."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent


def declared(room: str, name: str, constant: str) -> Any:
    """The literal that an item's own test file assigns to ``constant`` at its top level; None if it assigns nothing.

    Files are read, not imported: they skip or fail for reasons of their own.

    Args:
        room: a folder of tests, for example ``baselines``.
        name: the item's name in the registry. Its test file is ``test_<name>.py``, or ``<name>/test_protocol.py``.
        constant: ``TINY`` and others, as the callers document them.
    """
    for file in (TESTS / room / f"test_{name}.py", TESTS / room / name / "test_protocol.py"):
        if file.is_file():
            for statement in ast.parse(file.read_text(encoding="utf-8"), filename=str(file)).body:
                targets = (
                    statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
                )
                if any(isinstance(target, ast.Name) and target.id == constant for target in targets):
                    return ast.literal_eval(statement.value)  # type: ignore[attr-defined]
    return None
