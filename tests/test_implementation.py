"""Objects named by a text or by a package are imported on first use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from clever.implementation import attribute, implementation


def test_the_named_object_is_returned() -> None:
    assert implementation("fractions:Fraction") is __import__("fractions").Fraction


def test_nothing_is_imported_earlier() -> None:
    code = (
        "import sys; from clever.implementation import implementation; assert 'fractions' not in sys.modules; "
        "implementation('fractions:Fraction'); assert 'fractions' in sys.modules"
    )
    subprocess.run([sys.executable, "-S", "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_a_package_exports_only_declared_names() -> None:
    assert attribute("xml", {"parse": "sax"}, "parse") is __import__("xml.sax").sax.parse
    with pytest.raises(AttributeError, match="module 'xml' has no attribute 'other'"):
        attribute("xml", {"parse": "sax"}, "other")
