"""Every protocol's options can be read without torch, and its code is found by name."""

from __future__ import annotations

import subprocess
import sys
import typing
from pathlib import Path

import pytest

import clever.evaluation.options
from clever.evaluation import PROTOCOLS
from clever.evaluation.subject import Subject
from clever.results.records import Record

from ..test_torch_free import SLOW, loaded

MODULES = sorted(path.stem for path in Path(clever.evaluation.options.__path__[0]).glob("*.py"))


def test_options_need_neither_torch_nor_other_large_libraries() -> None:
    assert {"linear", "protocol", "video"} <= set(MODULES)
    options = (f"clever.evaluation.options.{module}" for module in MODULES if module != "__init__")
    assert loaded(("clever.evaluation", *options)) == []


READING = f"""
import sys
from clever.errors import UserError
from clever.evaluation import PROTOCOLS
for name, options in {{
    "attention": {{"root": "none"}},
    "corruption": {{"root": "none"}},
    "detection": {{"root": "none"}},
    "saliency": {{"root": "none", "layout": "pets"}},
    "semi": {{"lists": {{"simclr1": "none.txt"}}}},
    "video": {{"root": "none"}},
}}.items():
    block = PROTOCOLS[name].options.model_validate(options)
    try:
        block.require()
    except UserError as error:
        print(name, "none" in str(error), sorted(set({SLOW}) & set(sys.modules)))
"""


def test_missing_data_are_found_without_large_libraries(tmp_path: Path) -> None:
    program = [sys.executable, "-c", READING]
    done = subprocess.run(program, capture_output=True, text=True, check=True, cwd=tmp_path)
    names = ("attention", "corruption", "detection", "saliency", "semi", "video")
    assert done.stdout.splitlines() == [f"{name} True []" for name in names]


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_a_protocol_takes_the_options_that_it_is_registered_with(name: str) -> None:
    protocol = PROTOCOLS[name]
    hints = typing.get_type_hints(protocol.evaluate)
    assert [*hints.items()][:2] == [("subject", Subject), ("options", protocol.options)]
    assert hints["return"] == list[Record]
    assert protocol.options.__module__ == f"clever.evaluation.options.{name}"
