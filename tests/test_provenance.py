"""The files that a result comes from."""

from __future__ import annotations

from clever.baselines import BASELINES
from clever.equivariance import EQUIVARIANCES
from clever.provenance import source_files

PACKAGES = ("clever.baselines", "clever.equivariance")


def _names(*kinds: type) -> set[str]:
    return {"/".join(file.parts[-2:]) for file in source_files(*kinds, packages=PACKAGES)}


def test_a_class_stands_on_its_file_what_it_inherits_and_the_functions_it_calls() -> None:
    clever, dino = EQUIVARIANCES["clever"][0], BASELINES["dino"][0]
    assert {"equivariance/clever.py", "equivariance/ddcl.py", "equivariance/equivariance.py"} <= _names(clever)
    assert {"baselines/dino.py", "baselines/distillation.py", "baselines/baseline.py"} <= _names(dino)


def test_other_methods_and_registries_are_not_among_them() -> None:
    found = _names(EQUIVARIANCES["none"][0], BASELINES["dino"][0])
    others = {f"baselines/{name}.py" for name in BASELINES if name != "dino"}
    assert not found & (others | {"equivariance/clever.py", "equivariance/ddcl.py"})
    assert not [name for name in found if name.endswith("__init__.py")]


def test_packages_that_were_not_asked_for_are_left_out() -> None:
    assert not source_files(BASELINES["dino"][0], packages=("clever.data",))
