"""The numbers of every method and protocol equal the pinned ones, so that they change only deliberately.

On a machine with the same processor, instruction sets and numerical packages as the one that wrote ``pins.json``, every
bit must be the same. On any other machine, the numbers are compared with tolerances, because sums are rounded
differently there.
"""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest

from .cases import PINNED_EVALUATIONS, pinned_recipes, whole_runs
from .measure import FILE, everything, machine

FIRST_STEP, LATER = 1e-4, 1e-2
"""Relative tolerances on another machine: for the numbers of the first step, before any parameter has changed, and for
all other numbers, which accumulate the rounding of several steps. With AVX2 instead of AVX-512, they differ by at most
3e-5 and 3e-3."""
ABSOLUTE = 3e-5


def differences(pinned: dict[str, Any], found: dict[str, Any], *, bits: bool, where: str = "") -> list[str]:
    """One line for each difference; without ``bits``, hashes are skipped and numbers are compared with tolerances."""
    lines = []
    for key in sorted({*pinned, *found}):
        path = f"{where} / {key}" if where else key
        if key not in pinned or key not in found:
            lines.append(f"{path}: {'new' if key in found else 'gone'}")
            continue
        one, other = pinned[key], found[key]
        if isinstance(one, dict):
            lines += differences(one, other, bits=bits, where=path)
        elif bits or not isinstance(one, float | str):
            if one != other:
                lines.append(f"{path}: pinned {one}, found {other}")
        elif isinstance(one, float):
            relative = FIRST_STEP if "first step" in path else LATER
            if not math.isclose(one, other, rel_tol=relative, abs_tol=max(ABSOLUTE, one_image(key))):
                lines.append(f"{path}: pinned {one}, found {other}")
    return lines


def one_image(record: str) -> float:
    """The tolerance in percent for a record that counts images, a little more than one image; 0 for any other
    number."""
    counts = any(f" {metric} " in record for metric in ("top1", "top5", "balanced_accuracy_flip"))
    return 101 / int(record.split("(n ")[1].rstrip(")")) if counts else 0.0


@pytest.fixture
def pinned() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def test_every_number_equals_its_pin(pinned: dict[str, Any], tmp_path: Path) -> None:
    same_machine = pinned.pop("machine") == machine()
    found = everything(tmp_path)
    for bits in {False, same_machine}:
        wrong = differences(pinned, found, bits=bits)
        assert not wrong, f"{len(wrong)} pinned numbers differ, compared as {'bits' if bits else 'numbers'}:\n" + (
            "\n".join(wrong[:40])
        )


def test_the_file_contains_exactly_the_cases(pinned: dict[str, Any]) -> None:
    assert set(pinned["runs"]) == set(pinned_recipes())
    assert set(pinned["engine"]) == set(whole_runs())
    assert set(pinned["evaluations"]) == set(PINNED_EVALUATIONS)


def test_a_changed_number_is_found(pinned: dict[str, Any]) -> None:
    del pinned["machine"]
    assert differences(pinned, copy.deepcopy(pinned), bits=True) == []
    moved = copy.deepcopy(pinned)
    moved["runs"]["dino+clever"]["first step"]["loss_head_norm"] *= 1 + 3e-4
    (line,) = differences(pinned, moved, bits=False)
    assert line.startswith("runs / dino+clever / first step / loss_head_norm: pinned ")
    bit = copy.deepcopy(pinned)
    bit["runs"]["dino+clever"]["student"] = "0" * 16
    bit["runs"]["dino+clever"]["last step"]["loss"] *= 1 + 1e-7
    assert differences(pinned, bit, bits=False) == []
    assert len(differences(pinned, bit, bits=True)) == 2
    lost = copy.deepcopy(pinned)
    del lost["evaluations"]["knn"]
    assert differences(pinned, lost, bits=False) == ["evaluations / knn: gone"]
