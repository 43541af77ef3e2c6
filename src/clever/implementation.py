"""Implementations that are named in a registry and imported on first use.

A registry names its entries' options by class and their code by text, ``"clever.baselines.simclr:Simclr"``. Reading and
checking a study then needs only the options and not torch, whose import takes longer than the check itself.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

OptionsKind = TypeVar("OptionsKind")
MethodKind = TypeVar("MethodKind")


@functools.cache
def implementation(path: str) -> Any:
    """Import and return the object that ``path``, "<module>:<name>", names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def attribute(package: str, modules: Mapping[str, str], name: str) -> Any:
    """For a package's ``__getattr__``: the attribute ``name``, from the module of the package that defines it.

    Args:
        package: the package's ``__name__``.
        modules: for each name that the package exports without importing it, the module that defines it, relative to
            the package.
        name: the attribute.

    Raises:
        AttributeError: the package does not export ``name``.
    """
    if name not in modules:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)


@dataclass(frozen=True)
class Registered(Generic[OptionsKind, MethodKind]):
    """A method in a registry."""

    options: type[OptionsKind]
    """The class of its options."""
    path: str
    """The path of its class, as for :func:`implementation`."""

    @property
    def kind(self) -> type[MethodKind]:
        """Its class; the module is imported on first use."""
        found: type[MethodKind] = implementation(self.path)
        return found
