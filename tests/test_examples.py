"""The examples in docstrings and in the README run and print the documented output."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import clever.baselines
import clever.equivariance
from clever.baselines import BASELINES
from clever.data import Store
from clever.equivariance import EQUIVARIANCES
from clever.pretraining.engine import pretrain
from clever.pretraining.options import ExecutionOptions
from tests.conftest import RecipeMaker

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_examples_in_docstrings_print_the_documented_output() -> None:
    for package in (clever.baselines, clever.equivariance):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            result = doctest.testmod(importlib.import_module(module.name))
            assert not result.failed, module.name


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_has_an_example(name: str) -> None:
    kind = BASELINES[name].kind
    assert (".attract_samples(" if BASELINES[name].options.reads_samples else ".attract(") in (kind.__doc__ or "")
    assert doctest.DocTestParser().get_examples(kind.__doc__ or "")


@pytest.mark.parametrize("name", sorted(set(EQUIVARIANCES) - {"none"}))
def test_every_add_on_has_an_example(name: str) -> None:
    """The example covers the whole add-on or its loss function; ``none`` adds nothing and has no example."""
    module = importlib.import_module(EQUIVARIANCES[name].kind.__module__)
    assert any(found.examples for found in doctest.DocTestFinder(exclude_empty=False).find(module))


def _blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_second_example_of_the_readme_trains() -> None:
    names: dict[str, object] = {}
    exec(compile(_blocks()[1], "README.md", "exec"), names)
    losses = names["losses"]
    assert isinstance(losses, list)
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8]), losses


def test_the_first_example_of_the_readme_loads_a_run(
    digits_store: Store, make_recipe: RecipeMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = _blocks()[0]
    (folder,) = re.findall(r'load\("([^"]+)"\)', block)
    recipe = make_recipe(optimisation={"epochs": 1})
    pretrain(recipe, digits_store, tmp_path / folder, ExecutionOptions(device="cpu"))
    monkeypatch.chdir(tmp_path)
    from PIL import Image

    Image.new("RGB", (40, 30), (200, 10, 10)).save("photo.jpg")
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)
    assert tuple(names["ir"].shape) == (1, 204)  # type: ignore[attr-defined]
    assert tuple(names["ef"].shape) == (1, 52)  # type: ignore[attr-defined]
