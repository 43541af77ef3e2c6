"""The file that represents the source files of a job: its contents and its time."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from clever.code_sums import _facts, code_sums
from clever.errors import UserError


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, ...]:
    found = (tmp_path / "a.py", tmp_path / "b.py")
    for place, file in enumerate(found):
        file.write_text(f"x = {place}\n")
        os.utime(file, (1000 + place, 1000 + place))
    return found


def update(folder: Path, files: tuple[Path, ...]) -> Path:
    """Update the file as a new plan does."""
    code_sums.cache_clear()
    _facts.cache_clear()
    return Path(code_sums(folder / "sums" / "job.sha256", files))


def test_the_file_lists_every_source_file_and_is_as_old_as_the_newest(tmp_path: Path, files: tuple[Path, ...]) -> None:
    made = update(tmp_path, files)
    lines = [line.split("  ") for line in made.read_text().splitlines()]
    assert lines == [[hashlib.sha256(file.read_bytes()).hexdigest(), str(file)] for file in files]
    assert made.stat().st_mtime == 1001
    assert [path.name for path in made.parent.iterdir()] == ["job.sha256"]


def test_nothing_is_written_without_a_change(tmp_path: Path, files: tuple[Path, ...]) -> None:
    before = update(tmp_path, files).stat()
    after = update(tmp_path, files).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_newer_time_changes_only_the_time(tmp_path: Path, files: tuple[Path, ...]) -> None:
    text = update(tmp_path, files).read_text()
    os.utime(files[0], (2000, 2000))
    made = update(tmp_path, files)
    assert (made.read_text(), made.stat().st_mtime) == (text, 2000)


def test_an_edit_changes_content_and_time(tmp_path: Path, files: tuple[Path, ...]) -> None:
    text = update(tmp_path, files).read_text()
    files[1].write_text("x = 5\n")
    made = update(tmp_path, files)
    assert made.read_text() != text
    assert made.stat().st_mtime_ns == files[1].stat().st_mtime_ns


def test_older_files_with_other_contents_are_also_a_change(tmp_path: Path, files: tuple[Path, ...]) -> None:
    """For example, files that rsync copied with their times."""
    before = update(tmp_path, files).stat().st_mtime_ns
    files[0].write_text("x = 7\n")
    os.utime(files[0], (500, 500))
    changed = update(tmp_path, files).stat().st_mtime_ns
    assert changed > before
    assert update(tmp_path, files).stat().st_mtime_ns == changed  # and stays so


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, files: tuple[Path, ...]) -> None:
    (tmp_path / "sums").write_text("not a folder")
    with pytest.raises(UserError, match=r"sums/job\.sha256: could not be written"):
        update(tmp_path, files)
