"""Outputs are whole or absent."""

from __future__ import annotations

from pathlib import Path

import pytest
from output import write_atomically

from clever.errors import UserError


def test_writes_into_a_new_folder_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "paper" / "table_1.md"
    write_atomically(path, "±\n")
    write_atomically(path, "–\n")
    assert path.read_bytes() == "–\n".encode()
    assert list(path.parent.iterdir()) == [path]
    path.with_name("plain").write_text("", encoding="utf-8")
    assert path.stat().st_mode == path.with_name("plain").stat().st_mode


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table_1.md"
    write_atomically(path, "old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(UserError, match=r"table_1\.md: cannot write there \(No space left on device\)"):
        write_atomically(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "paper").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="cannot write there"):
        write_atomically(tmp_path / "paper" / "table_1.md", "")
