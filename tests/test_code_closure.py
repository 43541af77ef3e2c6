"""Static import closures of synthetic packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from clever.code_closure import code_closure, registered

TREE = {
    "a/__init__.py": "from a.one import First\nfrom a.two import Second\nfrom a.three import three\n\n"
    "REGISTRY = {'first': (First, three), 'second': Second}\n",
    "a/one.py": "import os\nfrom b import helper\n\nclass First: ...\n",
    "a/two.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import c\n\nclass Second: ...\n",
    "a/three.py": "def three():\n    from . import lazy\n    return lazy\n",
    "a/lazy.py": "import d.deep\n",
    "b/__init__.py": "from b.inner import helper\nfrom b.other import other\n",
    "b/inner.py": "def helper(): ...\n",
    "named/__init__.py": "REGISTRY = {'first': ('c:any', 'an: explanation'), 'second': 'a.two:second'}\n",
    "from_texts.py": "from named import REGISTRY\n",
    "by_text.py": "'''See a.two:second, and b.inner: helper.'''\nKIND = kind('a.three:three')\n",
    "b/other.py": "def other(): ...\n",
    "c.py": "",
    "d/__init__.py": "raise SystemExit('imported')\n",
    "d/deep.py": "import c as renamed\n",
    "from_package.py": "from a import First\n",
    "from_registry.py": "from a import REGISTRY\n",
    "of_module.py": "import a.two\nimport numpy\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("entry", "cut", "expected"),
    [
        ("from_package", (), {"from_package", "a.one", "b.inner"}),
        ("from_registry", (), {"from_registry", "a", "a.one", "a.two", "a.three", "a.lazy", "b.inner", "d.deep", "c"}),
        ("from_registry", ("a",), {"from_registry"}),
        ("from_registry", ("a.three", "b*"), {"from_registry", "a", "a.one", "a.two"}),
        ("from_texts", (), {"from_texts", "named", "c", "a.two"}),
        ("by_text", (), {"by_text", "a.three", "a.lazy", "d.deep", "c"}),
        ("by_text", ("a*",), {"by_text"}),
        ("of_module", (), {"of_module", "a.two"}),
        ("a.three", ("d*",), {"a.three", "a.lazy"}),
    ],
)
def test_the_closure_of_a_module(tree: Path, entry: str, cut: tuple[str, ...], expected: set[str]) -> None:
    found = code_closure([entry], cut, (tree,))
    assert set(found) == expected
    assert all(file.is_file() and file.is_relative_to(tree) for file in found.values())


def test_an_entry_of_a_registry_leads_to_its_own_modules(tree: Path) -> None:
    assert registered("a", "REGISTRY", "first", tree) == {"a.one", "a.three"}
    assert registered("a", "REGISTRY", "second", tree) == {"a.two"}
    assert registered("a", "REGISTRY", root=tree) == {"a.one", "a.two", "a.three"}
    assert registered("named", "REGISTRY", "first", tree) == {"c"}
    assert registered("named", "REGISTRY", root=tree) == {"c", "a.two"}
    with pytest.raises(KeyError, match="third"):
        registered("a", "REGISTRY", "third", tree)


def test_a_missing_entry_is_an_error(tree: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="no module e below"):
        code_closure(["e"], roots=(tree,))


def test_modules_are_searched_in_several_folders(tree: Path) -> None:
    (tree / "scripts").mkdir()
    (tree / "scripts" / "draw.py").write_text("import marks\nfrom b import other\n")
    (tree / "scripts" / "marks.py").write_text("")
    assert set(code_closure(["draw"], roots=(tree / "scripts", tree))) == {"draw", "marks", "b.other"}
