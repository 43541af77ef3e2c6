"""The description of the differences between two recipes: the differing keys, with both values."""

from __future__ import annotations

from typing import Any

import pytest

from clever.pretraining.recipe_changes import SHOWN, recipe_changes

RECIPE: dict[str, Any] = {"seed": 0, "optimisation": {"epochs": 20, "final_weight_decay": None}, "dims": [8, 8]}


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (RECIPE, ""),
        (RECIPE | {"seed": 1}, "seed was 0 and is 1"),
        (
            RECIPE | {"optimisation": {"epochs": 30, "final_weight_decay": 0.4}},
            "optimisation.epochs was 20 and is 30, optimisation.final_weight_decay was null and is 0.4",
        ),
        (RECIPE | {"dims": [8]}, "dims was [8, 8] and is [8]"),
        (RECIPE | {"new": "x"}, 'new was not there and is "x"'),
        ({"seed": 0, "dims": [8, 8]}, "optimisation was "),
    ],
)
def test_keys_that_differ_are_named_with_both_values(now: dict[str, Any], words: str) -> None:
    assert recipe_changes(RECIPE, now).startswith(words)
    assert bool(recipe_changes(RECIPE, now)) == bool(words)


def test_many_changes_are_counted() -> None:
    before, now = ({f"k{n}": value for n in range(20)} for value in (0, 1))
    assert recipe_changes(before, now).endswith(f" and {20 - SHOWN} more")
