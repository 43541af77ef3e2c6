"""Checksums of contents: which files are read, what is cached, and when the cache is discarded."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from clever.data import verification
from clever.data.verification import verify_file
from clever.errors import UserError

SIZE = 4096


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """The files that were read in full; files of ``SIZE`` bytes count as large."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(verification, "ALWAYS_BELOW", SIZE)
    found: list[Path] = []
    read = verification.file_sha256

    def counted(path: Path) -> str:
        found.append(path)
        return read(path)

    monkeypatch.setattr(verification, "file_sha256", counted)
    return found


def write(path: Path, content: bytes, age: int = 3600) -> str:
    path.write_bytes(content)
    at = path.stat().st_mtime_ns - age * 10**9
    os.utime(path, ns=(at, at))
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat files as settled at once, because the time of an inode's last change cannot be set back."""
    monkeypatch.setattr(verification, "_SETTLED_NANOSECONDS", -(10**12))


@pytest.mark.usefixtures("settled")
def test_a_large_file_is_read_once_until_it_is_touched(
    reads: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "images.npy"
    digest = write(path, b"a" * SIZE)
    verify_file(path, digest, remember=True)
    assert "images.npy: 0.0 GB compared with their checksum in" in capsys.readouterr().err
    for _ in range(3):
        verify_file(path, digest, remember=True)
    assert reads == [path]
    assert capsys.readouterr().err == ""
    verify_file(path, digest, remember=False)
    assert len(reads) == 2

    os.utime(path, (1.0, 1.0))
    verify_file(path, digest, remember=True)
    assert len(reads) == 3
    verify_file(path, digest, remember=True)
    assert len(reads) == 3


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("how", ["in place", "with its old dates", "replaced", "another checksum"])
def test_a_change_of_a_cached_file_is_found(reads: list[Path], tmp_path: Path, how: str) -> None:
    path = tmp_path / "images.npy"
    digest = write(path, b"a" * SIZE)
    verify_file(path, digest, remember=True)
    before = path.stat()
    if how == "replaced":
        write(tmp_path / "other", b"a" * (SIZE - 1) + b"b")
        shutil.move(tmp_path / "other", path)
    elif how == "another checksum":
        digest = "0" * 64
    else:
        with path.open("rb+") as file:
            file.write(b"b")
    if how in ("with its old dates", "replaced"):
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(UserError, match=r"images\.npy: sha256 is [0-9a-f]{12}…, [0-9a-f]{12}… was written"):
        verify_file(path, digest, remember=True)
    assert len(reads) == 2


def test_small_files_are_read_by_every_job(reads: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "labels.npy"
    digest = write(path, b"a" * (SIZE - 1))
    for _ in range(3):
        verify_file(path, digest, remember=True)
    assert len(reads) == 3
    assert not (tmp_path / "cache").exists()


def test_a_file_that_has_just_been_written_is_not_cached(reads: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    digest = write(path, b"a" * SIZE, age=0)
    for _ in range(2):
        verify_file(path, digest, remember=True)
    assert len(reads) == 2


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("damage", [b"", b"[]", b'{"inode": 1}'])
def test_a_damaged_cache_is_ignored(reads: list[Path], tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "images.npy"
    digest = write(path, b"a" * SIZE)
    verify_file(path, digest, remember=True)
    (memory,) = (tmp_path / "cache" / "clever" / "verified").iterdir()
    memory.write_bytes(damage)
    verify_file(path, digest, remember=True)
    assert len(reads) == 2


@pytest.mark.usefixtures("settled")
def test_without_a_cache_every_job_reads(reads: list[Path], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    path = tmp_path / "images.npy"
    digest = write(path, b"a" * SIZE)
    for _ in range(2):
        verify_file(path, digest, remember=True)
    assert len(reads) == 2


def test_a_missing_file_gives_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.npy: cannot be read \(No such file"):
        verify_file(tmp_path / "gone.npy", "0" * 64, remember=True)
