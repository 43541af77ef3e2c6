"""Layouts of saliency data sets, and the error for a missing one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clever.errors import UserError
from clever.evaluation.saliency.datasets import LAYOUTS, find_photographs, resize_to_patches


def lay_out(root: Path, images: str, masks: str, names: tuple[str, ...] = ("b", "a")) -> None:
    for folder in (images, masks):
        (root / folder).mkdir(parents=True)
    for name in names:
        Image.fromarray(np.full((6, 8, 3), 9, np.uint8)).save(root / images / f"{name}.jpg")
        mask = np.zeros((6, 8), np.uint8)
        mask[1:3, 2:5] = 255
        Image.fromarray(mask).save(root / masks / f"{name}.png")


@pytest.mark.parametrize(("layout", "folders"), [(name, pair) for name, pairs in LAYOUTS.items() for pair in pairs])
def test_every_layout_is_found_in_its_folder_or_above(tmp_path: Path, layout: str, folders: tuple[str, str]) -> None:
    lay_out(tmp_path / "unpacked", *folders)
    (tmp_path / "unpacked" / folders[1] / "._a.png").write_bytes(b"left by macOS")
    for root in (tmp_path, tmp_path / "unpacked"):
        found = find_photographs(root, layout)
        assert [photograph.image.stem for photograph in found] == ["a", "b"]
        assert found[0].pixels().shape == (6, 8, 3)


def test_a_mask_is_foreground_above_half(tmp_path: Path) -> None:
    lay_out(tmp_path, "images", "masks")
    truth, counted = find_photographs(tmp_path, "ecssd")[0].truth()
    assert truth.sum() == 6
    assert counted.all()


def test_pets_use_the_test_list_and_ignore_the_border(tmp_path: Path) -> None:
    lay_out(tmp_path, "images", "annotations/trimaps", ("cat_1", "dog_2"))
    trimap = np.full((6, 8), 2, np.uint8)
    trimap[1, 1], trimap[1, 2] = 1, 3
    Image.fromarray(trimap).save(tmp_path / "annotations" / "trimaps" / "dog_2.png")
    (tmp_path / "annotations" / "test.txt").write_text("dog_2 2 2 1\n", encoding="utf-8")
    [photograph] = find_photographs(tmp_path, "pets")
    truth, counted = photograph.truth()
    assert truth.sum() == 1
    assert truth[1, 1]
    assert (~counted).sum() == 1
    assert not counted[1, 2]


def test_a_missing_data_set_gives_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent: no such folder"):
        find_photographs(tmp_path / "absent", "ecssd")
    with pytest.raises(UserError, match="does not hold duts: the folders DUTS-TE-Image/ and DUTS-TE-Mask/"):
        find_photographs(tmp_path, "duts")
    with pytest.raises(UserError, match="'coco' is unknown; choose one of ecssd"):
        find_photographs(tmp_path, "coco")
    lay_out(tmp_path, "images", "masks")
    Image.fromarray(np.zeros((5, 8), np.uint8)).save(tmp_path / "masks" / "b.png")
    with pytest.raises(UserError, match=r"b\.png: is 8x5 px, its photograph 8x6 px"):
        find_photographs(tmp_path, "ecssd")
    (tmp_path / "masks" / "b.png").unlink()
    with pytest.raises(UserError, match=r"1 of 2 photographs have no mask of the same name \(first: b\.jpg\)"):
        find_photographs(tmp_path, "ecssd")
    (tmp_path / "images" / "b.jpg").unlink()
    (tmp_path / "masks" / "a.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"a\.png: cannot be read as an image"):
        find_photographs(tmp_path, "ecssd")


def test_sides_are_rounded_to_the_nearest_multiple() -> None:
    pixels = np.zeros((267, 400, 3), np.uint8)
    assert resize_to_patches(pixels, 16).shape == (272, 400, 3)
    assert resize_to_patches(np.zeros((5, 40, 3), np.uint8), 16).shape == (16, 32, 3)
