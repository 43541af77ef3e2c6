"""The files that are read, and the files that are skipped with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from clever.data.image_files import described, is_junk, list_images


def test_every_file_is_an_image_or_counted_with_its_reason(tmp_path: Path) -> None:
    names = ["b.png", "a.JPG", "x.jfif", "y.GIF", "z.avif", "w.jfif", "README", "._a.JPG", ".DS_Store", "Thumbs.db"]
    names += [".ipynb_checkpoints/a-checkpoint.jpg", "deep/__MACOSX/a/._b.png", "deep/c.webp", ".kept.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = list_images(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found.images] == [
        *(".kept.png", "a.JPG", "b.png", "deep/c.webp")
    ]
    assert found.broken == []
    expected = {".jfif": 2, ".gif": 1, ".avif": 1, "no extension": 1, "left by a system or editor": 5}
    assert found.passed_over == expected
    assert sum(expected.values()) + len(found.images) == len(names)
    assert described(found.passed_over).startswith("5 left by a system or editor, 2 .jfif, 1 .avif, ")


@pytest.mark.parametrize("name", ["._x.jpg", ".DS_Store", ".ipynb_checkpoints", "__MACOSX", "@eaDir", "Thumbs.db"])
def test_junk(name: str) -> None:
    assert is_junk(name)


@pytest.mark.parametrize("name", ["x.jpg", ".x.jpg", "_x.jpg", "thumbs", "n01440764"])
def test_no_junk(name: str) -> None:
    assert not is_junk(name)
