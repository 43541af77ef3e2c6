"""The files that a piece of code consists of: its static import closure, read from the syntax trees.

Nothing is imported, and only the standard library is needed. Imports inside functions count; imports under
``if TYPE_CHECKING`` do not, since they never run. A name that a package's ``__init__`` only re-exports leads to the
module that defines it, so that the package's other modules do not count. An ``__init__`` that defines the name itself
(a registry, a function) counts, together with the imports that its own code uses. The implementations that a module
names by text (``"<module>:<name>"``) count as if it imported them.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
"""The folder that contains the package."""

_NAMED = re.compile(r"[\w.]+:\w+")

_Imported = tuple[str, str | None]
"""A module and the name imported from it; None for the module itself."""


def code_closure(entries: Iterable[str], cut: Sequence[str] = (), roots: Sequence[Path] = (SOURCE,)) -> dict[str, Path]:
    """The modules in the import closure of ``entries``, and their files.

    Args:
        entries: dotted names of modules.
        cut: borders, as patterns (``clever.results*``): modules that do not count and whose imports are not followed.
        roots: the folders to search for modules; modules in none of them (libraries) do not count.

    Returns:
        Mapping from module to file, sorted by module.

    Raises:
        ModuleNotFoundError: an entry is in none of the folders.
    """
    found: dict[str, Path] = {}
    waiting = list(entries)
    for entry in waiting:
        if _find(entry, tuple(roots)) is None:
            raise ModuleNotFoundError(f"no module {entry} below {', '.join(map(str, roots))}")
    while waiting:
        module = waiting.pop()
        file = _find(module, tuple(roots))
        if module in found or file is None or any(fnmatchcase(module, pattern) for pattern in cut):
            continue
        found[module] = file
        waiting += _followed(module, file, tuple(roots))
    return dict(sorted(found.items()))


def registered(package: str, registry: str, key: str | None = None, root: Path = SOURCE) -> set[str]:
    """The modules that define the entry of a registry (a top-level dict) for a key; for all keys if ``key`` is None.

    These are the modules of the names in the entry, and of its texts of the form ``"<module>:<name>"``.

    Raises:
        KeyError: the registry or the key does not exist.
    """
    roots = (root,)
    file = _find(package, roots)
    if file is None:
        raise ModuleNotFoundError(f"no module {package} below {root}")
    tree = _parse(file)
    bound = _bindings(package, file)
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = getattr(statement, "value", None)
        if not isinstance(value, ast.Dict) or not any(isinstance(t, ast.Name) and t.id == registry for t in targets):
            continue
        entries = [
            entry
            for name, entry in zip(value.keys, value.values, strict=True)
            if key is None or (isinstance(name, ast.Constant) and name.value == key)
        ]
        if entries:
            nodes = [node for entry in entries for node in ast.walk(entry)]
            used = {node.id for node in nodes if isinstance(node, ast.Name)}
            imported = [bound[name] for name in used & bound.keys()] + _named(nodes)
            return {module for found in imported for module in _resolved(*found, roots)}
    raise KeyError(f"{package}.{registry} has no {key}")


@functools.cache
def _find(module: str, roots: tuple[Path, ...]) -> Path | None:
    for root in roots:
        base = root.joinpath(*module.split("."))
        for file in (base / "__init__.py", base.with_name(f"{base.name}.py")):
            if file.is_file():
                return file
    return None


@functools.cache
def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes(), filename=str(file))


@functools.cache
def _followed(module: str, file: Path, roots: tuple[Path, ...]) -> tuple[str, ...]:
    """The modules that one module imports and that must be followed."""
    if file.name == "__init__.py":
        bound = _bindings(module, file)
        statements = [part for part in _parse(file).body if not isinstance(part, ast.Import | ast.ImportFrom)]
        nodes = [node for statement in statements for node in ast.walk(statement)]
        used = {node.id for node in nodes if isinstance(node, ast.Name)}
        inner = [found for _, _, found in _imports(module, file, top=False)]
        imported = [bound[name] for name in sorted(used & bound.keys())] + _named(nodes) + inner
    else:
        imported = [found for _, _, found in _imports(module, file)] + _named(ast.walk(_parse(file)))
    return tuple(dict.fromkeys(name for found in imported for name in _resolved(*found, roots)))


def _named(nodes: Iterable[ast.AST]) -> list[_Imported]:
    """The implementations that texts of the form ``"<module>:<name>"`` name (see ``clever.implementation``)."""
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    named = (text.partition(":") for text in texts if _NAMED.fullmatch(text))
    return [(module, name) for module, _, name in named]


def _resolved(module: str, name: str | None, roots: tuple[Path, ...]) -> Iterator[str]:
    """The module that an import leads to: for a name that a package re-exports, the module that defines it."""
    file = _find(module, roots)
    if file is None:
        return
    if name is not None and _find(f"{module}.{name}", roots) is not None:
        yield f"{module}.{name}"
    elif name is not None and file.name == "__init__.py" and name in (bound := _bindings(module, file)):
        yield from _resolved(*bound[name], roots)
    else:
        yield module


@functools.cache
def _bindings(module: str, file: Path) -> dict[str, _Imported]:
    """The names that a module imports at its top level, including those for type checkers (in lazy packages)."""
    return {bound: found for bound, inside, found in _imports(module, file, typing=True) if not inside}


def _imports(module: str, file: Path, typing: bool = False, top: bool = True) -> Iterator[tuple[str, bool, _Imported]]:
    """Yield (bound name, whether inside a function, imported module or name) for every import of a file.

    Args:
        module, file: the file whose imports are listed.
        typing: include those under ``if TYPE_CHECKING``.
        top: include those outside of functions.
    """
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool, _Imported]]:
        if isinstance(node, ast.Import) and (top or inside):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0], inside, (alias.name, None)
        elif isinstance(node, ast.ImportFrom) and (top or inside):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield alias.asname or alias.name, inside, (source, None if alias.name == "*" else alias.name)
        elif isinstance(node, ast.If) and _asks_for_typing(node.test):
            for statement in [*(node.body if typing else []), *node.orelse]:
                yield from walk(statement, inside)
        else:
            inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for child in ast.iter_child_nodes(node):
                # Expressions, most of a file's nodes, contain no statements.
                if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                    yield from walk(child, inside)

    yield from walk(_parse(file), False)


def _asks_for_typing(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )
