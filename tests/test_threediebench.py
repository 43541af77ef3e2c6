from __future__ import annotations

from clever import threediebench


def test_columns_match_their_names() -> None:
    assert len(threediebench.NAMES) == 7
    assert list(threediebench.NAMES)[threediebench.ROTATION] == ["rotation_x", "rotation_y", "rotation_z"]
    assert (threediebench.FLOOR_HUE, threediebench.LIGHT_HUE) == (3, 6)
