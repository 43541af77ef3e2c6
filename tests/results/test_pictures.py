"""Pictures survive a round trip with the same bytes; a foreign file gives one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clever.errors import UserError
from clever.results.pictures import Pictures, read_pictures, write_pictures

FACTS = {"run": "d/b/m/a/seed0", "protocol": "saliency", "photographs": ["one"]}


def test_a_round_trip_keeps_values_types_and_bytes(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    arrays = {"0/image": draw.integers(0, 256, (4, 5, 3)).astype(np.uint8), "0/ALL/lost": draw.random((4, 5)) > 0.5}
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    write_pictures(first, Pictures(FACTS, arrays))
    write_pictures(second, Pictures(dict(reversed(FACTS.items())), dict(reversed(arrays.items()))))
    assert first.read_bytes() == second.read_bytes()
    found = read_pictures(first)
    assert (found.facts, found.run) == (FACTS, "d/b/m/a/seed0")
    assert found.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert np.array_equal(found.arrays[name], array)


def test_a_damaged_or_foreign_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(UserError, match=r"x\.npz: cannot be read"):
        read_pictures(path)
    write_pictures(path, Pictures(FACTS, {}))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"x\.npz: is not a file of pictures .*evaluate the run again"):
        read_pictures(path)
    np.savez(path, image=np.zeros(3))
    with pytest.raises(UserError, match=r"x\.npz: is not a file of pictures"):
        read_pictures(path)
    write_pictures(path, Pictures({"run": "x"}, {}))
    with pytest.raises(UserError, match=r"x\.npz: its facts name no run and protocol"):
        read_pictures(path)
