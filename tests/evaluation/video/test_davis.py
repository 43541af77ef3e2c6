"""DAVIS on disk: both kinds of masks, lists of sequences, and the error for a missing data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clever.errors import UserError
from clever.evaluation.video.davis import find_sequences


def write(root: Path, name: str, values: tuple[int, ...], frames: int = 4, palette: bool = True) -> None:
    for folder in ("JPEGImages", "Annotations"):
        (root / folder / "480p" / name).mkdir(parents=True)
    for frame in range(frames):
        Image.fromarray(np.full((8, 12, 3), frame, np.uint8)).save(root / f"JPEGImages/480p/{name}/{frame:05d}.jpg")
        mask = np.zeros((8, 12), np.uint8)
        for column, value in enumerate(values):
            mask[2:5, 3 * column : 3 * column + 2] = value
        image = Image.fromarray(mask)
        if palette:
            image.putpalette([component for index in range(256) for component in (index, 255 - index, 7)])
        image.save(root / f"Annotations/480p/{name}/{frame:05d}.png")


def test_several_objects_with_void_and_a_single_object_of_value_255(tmp_path: Path) -> None:
    write(tmp_path / "DAVIS", "many", (1, 2, 255))
    write(tmp_path / "DAVIS", "one", (255,), palette=False)
    many, one = find_sequences(tmp_path)
    assert np.unique(many.objects()[0]).tolist() == [0, 1, 2]
    assert np.unique(one.objects()[0]).tolist() == [0, 1]
    assert many.images()[3].shape == (8, 12, 3)
    assert [len(many.frames), len(many.objects())] == [4, 4]


def test_the_list_of_the_split_is_used_if_there_is_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path, name, (1,))
    lists = tmp_path / "ImageSets" / "2017"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("b\n", encoding="utf-8")
    assert [sequence.name for sequence in find_sequences(tmp_path)] == ["b"]
    assert [sequence.name for sequence in find_sequences(tmp_path, "train")] == ["a", "b"]
    (lists / "val.txt").write_text("c\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"480p/c: holds 0 frames"):
        find_sequences(tmp_path)


def test_a_missing_data_set_gives_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not hold DAVIS: JPEGImages/480p and Annotations/480p are missing"):
        find_sequences(tmp_path)
    write(tmp_path, "a", (0,))
    [sequence] = find_sequences(tmp_path)
    with pytest.raises(UserError, match=r"00000\.png: labels no object"):
        sequence.objects()
    (tmp_path / "Annotations/480p/a/00002.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"00002\.png: cannot be read as an image"):
        sequence.objects()
    Image.fromarray(np.zeros((9, 12), np.uint8)).save(tmp_path / "Annotations/480p/a/00002.png")
    with pytest.raises(UserError, match=r"00002\.png: has the shape \(9, 12\)"):
        sequence.objects()
    (tmp_path / "Annotations/480p/a/00002.png").unlink()
    with pytest.raises(UserError, match=r"00002\.png: is missing \(1 of 4 annotations of a are\)"):
        find_sequences(tmp_path)
