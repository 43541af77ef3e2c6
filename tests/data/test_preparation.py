from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clever.data import DataOptions, Store, prepare
from clever.data.decoding import resize_square
from clever.errors import UserError
from clever.files import exchange
from clever.locks import machine

from .conftest import ArraysMaker, FolderMaker, noise


def folder_options(root: Path, **options: Any) -> DataOptions:
    return DataOptions(source="image_folder", root=str(root), **({"image_size": 8} | options))


def array_options(root: Path, **options: Any) -> DataOptions:
    return DataOptions(source="arrays", root=str(root), **options)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_arrays_are_stored_bit_for_bit_with_their_moments(make_arrays: ArraysMaker, tmp_path: Path) -> None:
    root = make_arrays(train=3000)
    store = prepare(array_options(root), tmp_path / "store")
    images = np.load(root / "train_images.npy")
    np.testing.assert_array_equal(np.load(store.folder / "train_images.npy"), images)
    np.testing.assert_array_equal(np.load(store.folder / "test_labels.npy"), np.load(root / "test_labels.npy"))
    scaled = images.astype(np.float64) / 255
    np.testing.assert_allclose(store.mean, scaled.mean(axis=(0, 1, 2)), rtol=1e-13)
    np.testing.assert_allclose(store.std, scaled.std(axis=(0, 1, 2)), rtol=1e-12)
    assert store.info["splits"]["train"]["count"] == 3000
    assert store.info["splits"]["test"]["per_class"] == [2, 2, 2, 1]
    assert names_in(store.folder) == {
        "store.json",
        *(f"{split}_{what}.npy" for split in ("train", "test") for what in ("images", "labels")),
    }


def test_folder_images_are_squares_of_the_files(make_folder: FolderMaker, tmp_path: Path) -> None:
    root = make_folder()
    split = prepare(folder_options(root), tmp_path / "store").split("train")
    files = sorted((root / "train").glob("*/*.png"))
    expected = np.stack([resize_square(np.asarray(Image.open(path)), 8) for path in files])
    batch = split.images(torch.arange(6))
    np.testing.assert_array_equal(batch.pixels.permute(0, 2, 3, 1).numpy(), expected)
    assert batch.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_encoded_files_are_kept_and_decoded_on_demand(make_folder: FolderMaker, tmp_path: Path) -> None:
    root = make_folder()
    store = prepare(folder_options(root, format="encoded", image_size=None), tmp_path / "store")
    files = sorted((root / "train").glob("*/*.png"))
    assert (store.folder / "train_bytes.bin").read_bytes() == b"".join(path.read_bytes() for path in files)
    pixels = [np.asarray(Image.open(path)) for path in files]
    batch = store.split("train").images([4, 0])
    assert batch.sizes.tolist() == [[13, 17], [12, 20]]
    assert batch.pixels.shape == (2, 3, 13, 20)
    np.testing.assert_array_equal(batch.pixels[0, :, :, :17].permute(1, 2, 0).numpy(), pixels[4])
    np.testing.assert_array_equal(batch.pixels[1, :, :12].permute(1, 2, 0).numpy(), pixels[0])
    assert batch.pixels[0, :, :, 17:].eq(0).all()
    assert batch.pixels[1, :, 12:].eq(0).all()
    # Every pixel has the same weight, whatever the size of its image.
    every = np.concatenate([image.reshape(-1, 3) for image in pixels]).astype(np.float64) / 255
    np.testing.assert_allclose(store.mean, every.mean(axis=0), rtol=1e-13)
    assert store.info["splits"]["train"]["largest"] == [14, 20]


def test_encoded_bound_shrinks_when_decoding(make_folder: FolderMaker, tmp_path: Path) -> None:
    root = make_folder(train=1)
    store = prepare(folder_options(root, format="encoded", image_size=6), tmp_path / "store")
    batch = store.split("train").images([0])
    with Image.open(root / "train" / "cat" / "0.png") as image:  # 20 px wide, 12 px high
        expected = np.asarray(image.resize((10, 6), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(batch.pixels[0].permute(1, 2, 0).numpy(), expected)


def test_the_store_s_bytes_do_not_depend_on_the_source_s_location(make_folder: FolderMaker, tmp_path: Path) -> None:
    first = prepare(folder_options(make_folder("one")), tmp_path / "a")
    second = prepare(folder_options(make_folder("two")), tmp_path / "b")
    assert first.checksum == second.checksum
    for name in names_in(first.folder):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes(), name


@pytest.mark.parametrize(
    "change", [{"image_size": 9}, {"normalisation": "imagenet"}, {"train_limit": 4}, {"classes": ["cat"]}]
)
def test_checksum_depends_on_the_content(make_folder: FolderMaker, tmp_path: Path, change: dict[str, Any]) -> None:
    root = make_folder()
    plain = prepare(folder_options(root), tmp_path / "plain")
    assert prepare(folder_options(root, **change), tmp_path / "changed").checksum != plain.checksum


def test_imagenet_normalisation_also_keeps_the_measured_one(make_arrays: ArraysMaker, tmp_path: Path) -> None:
    root = make_arrays()
    store = prepare(array_options(root, normalisation="imagenet"), tmp_path / "store")
    assert store.mean == (0.485, 0.456, 0.406)
    assert store.std == (0.229, 0.224, 0.225)
    assert store.info["measured_mean"] == list(prepare(array_options(root), tmp_path / "own").mean)


def test_limits_are_balanced_and_too_small_ones_are_rejected(make_arrays: ArraysMaker, tmp_path: Path) -> None:
    root = make_arrays()
    store = prepare(array_options(root, train_limit=9, test_limit=5), tmp_path / "store")
    assert sorted(store.info["splits"]["train"]["per_class"]) == [2, 2, 2, 3]
    assert len(store.split("test")) == 5
    with pytest.raises(UserError, match="train_limit 3 cannot keep all 4 classes"):
        prepare(array_options(root, train_limit=3), tmp_path / "other")


def test_constant_channel_cannot_be_normalised(make_arrays: ArraysMaker, tmp_path: Path) -> None:
    images = np.load(make_arrays() / "train_images.npy")
    images[..., 1] = 40
    root = make_arrays("flat", train_images=images)
    with pytest.raises(UserError, match="set normalisation: imagenet"):
        prepare(array_options(root), tmp_path / "store")
    prepare(array_options(root, normalisation="imagenet"), tmp_path / "store")


def spoil(root: Path) -> dict[str, str]:
    """Make six training images unreadable; return a word of the expected reason for each."""
    cat = root / "train" / "cat"
    Image.fromarray(noise(1, 64, 64)).save(cat / "cut.jpg")
    data = (cat / "cut.jpg").read_bytes()
    (cat / "cut.jpg").write_bytes(data[: len(data) // 2])
    (cat / "text.jpg").write_text("hello")
    Image.new("1", (12000, 12000)).save(cat / "bomb.png")
    (cat / "loop.png").symlink_to(cat / "loop.png")
    os.mkfifo(cat / "pipe.png")
    (root / "train" / "dog" / "up").symlink_to(root)
    return {
        "train/cat/bomb.png": "bomb",
        "train/cat/cut.jpg": "truncated",
        "train/cat/loop.png": "symbolic links",
        "train/cat/pipe.png": "not a regular file",
        "train/cat/text.jpg": "not an image",
        "train/dog/up": "folder that contains it",
    }


def test_unreadable_images_are_each_named_and_refused(make_folder: FolderMaker, tmp_path: Path) -> None:
    root = make_folder()
    spoilt = spoil(root)
    with pytest.raises(UserError, match="6 unreadable, unreadable_limit is 5") as caught:
        prepare(folder_options(root, unreadable_limit=5), tmp_path / "stores" / "store")
    for name, reason in spoilt.items():
        assert name in str(caught.value)
        assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path / "stores") == set()


@pytest.mark.parametrize("format", ["pixels", "encoded"])
def test_unreadable_images_within_the_limit_are_left_out(make_folder: FolderMaker, tmp_path: Path, format: str) -> None:
    clean = prepare(folder_options(make_folder("clean"), format=format), tmp_path / "clean_store")
    root = make_folder("spoilt")
    spoilt = spoil(root)
    store = prepare(folder_options(root, format=format, unreadable_limit=6), tmp_path / "store")
    recorded = store.info["splits"]["train"]["unreadable"]
    assert {item["name"] for item in recorded} == set(spoilt)
    assert all(spoilt[item["name"]] in item["reason"] for item in recorded)
    assert store.checksum == clean.checksum  # the remaining images are the same
    store.verify()


def test_class_of_unreadable_images_only(make_folder: FolderMaker, tmp_path: Path) -> None:
    root = make_folder(train=1)
    (root / "train" / "dog" / "0.png").write_text("hello")
    with pytest.raises(UserError, match="no readable training image of class dog"):
        prepare(folder_options(root, unreadable_limit=3), tmp_path / "store")


def test_one_pixel_image_is_enlarged(make_folder: FolderMaker, tmp_path: Path) -> None:
    root = make_folder(train=1)
    Image.new("RGB", (1, 1), (9, 8, 7)).save(root / "train" / "cat" / "a.png")
    store = prepare(folder_options(root), tmp_path / "store")
    pixels = store.split("train").images([1]).pixels
    assert pixels[0, :, 3, 5].tolist() == [9, 8, 7]


def test_full_disk_leaves_nothing_behind(
    make_arrays: ArraysMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_arrays(train=4000)
    parent = tmp_path / "stores"
    old = prepare(array_options(root, train_limit=8), parent / "store").checksum
    # Cause a real write failure: no file of this process may grow beyond 100 kB.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(UserError, match=r"store: could not be written \(File too large; about 0\.00 GB"):
            prepare(array_options(root), parent / "store")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names_in(parent) == {"store"}
    assert Store.open(parent / "store").checksum == old

    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"GB are needed, but only 0\.00 GB are free"):
        prepare(array_options(root), parent / "store")
    assert names_in(parent) == {"store"}


def test_an_interruption_keeps_the_old_store(
    make_arrays: ArraysMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_arrays()
    parent = tmp_path / "stores"
    old = prepare(array_options(root), parent / "store").checksum

    def interrupt(*_: object) -> None:
        assert len(names_in(parent)) == 2  # it was built next to the old one
        raise KeyboardInterrupt

    monkeypatch.setattr("clever.data.preparation.content_checksum", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(array_options(root, train_limit=8), parent / "store")
    assert names_in(parent) == {"store"}
    Store.open(parent / "store").verify()
    assert Store.open(parent / "store").checksum == old


def test_store_is_replaced_but_other_files_are_not(make_arrays: ArraysMaker, tmp_path: Path) -> None:
    options = array_options(make_arrays())
    folder = tmp_path / "stores" / "store"
    first = prepare(options, folder)
    (folder / "train_bytes.bin").write_bytes(b"of an older layout")
    (folder / "store.json").unlink()
    assert prepare(options, folder).checksum == first.checksum
    assert "train_bytes.bin" not in names_in(folder)
    (folder / "thesis.tex").write_text("dear")
    with pytest.raises(UserError, match=r"store: holds thesis\.tex, which no prepared store contains"):
        prepare(options, folder)
    assert (folder / "thesis.tex").read_text() == "dear"
    assert names_in(folder.parent) == {"store"}


def test_file_in_the_way(make_arrays: ArraysMaker, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(UserError, match="store: is in the way"):
        prepare(array_options(make_arrays()), tmp_path / "store")
    (tmp_path / "file").write_text("a file")
    with pytest.raises(UserError, match="could not be written"):
        prepare(array_options(make_arrays("more")), tmp_path / "file" / "store")


def test_leftovers_of_a_killed_process_are_cleared_away(
    make_arrays: ArraysMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    dead = tmp_path / "stores" / f".store.{machine()}.{killed.pid}.0a1b2c3d.partial"
    living = tmp_path / "stores" / f".store.{machine()}.{os.getppid()}.0a1b2c3d.partial"
    # The number of a dead process here may belong to a living process in another container.
    foreign = tmp_path / "stores" / f".store.0123456789ab.{killed.pid}.0a1b2c3d.partial"
    for folder in (dead, living, foreign):
        folder.mkdir(parents=True)
        (folder / "train_images.npy").write_bytes(b"half")
    prepare(array_options(make_arrays()), tmp_path / "stores" / "store")
    assert names_in(tmp_path / "stores") == {"store", living.name, foreign.name}
    assert f"{foreign.name}: left by another machine; delete it unless" in capsys.readouterr().err


@pytest.mark.parametrize("renames", ["exchange", "two renames"])
def test_a_preparation_replaces_an_existing_store(
    make_arrays: ArraysMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: str
) -> None:
    if renames == "two renames":
        monkeypatch.setattr("clever.data.writing.exchange", lambda *_: False)
    for train in (20, 30):
        store = prepare(array_options(make_arrays(f"arrays{train}", train=train)), tmp_path / "stores" / "store")
        assert len(store.split("train")) == train
        assert names_in(tmp_path / "stores") == {"store"}


def test_a_store_exists_at_every_moment_of_a_replacement(
    make_arrays: ArraysMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store can be opened after each rename of a preparation, so that a kill at any point is safe."""
    folder = tmp_path / "stores" / "store"
    options = array_options(make_arrays())
    prepare(options, folder)
    probe = folder.parent / "probe"
    probe.mkdir()
    (folder.parent / "other").mkdir()
    if not exchange(probe, folder.parent / "other"):
        pytest.skip("this kernel or file system cannot exchange two names in one step")
    seen = []
    original = Path.rename

    def rename(self: Path, target: Path) -> Path:
        moved = original(self, target)
        seen.append(folder.exists())
        return moved

    monkeypatch.setattr(Path, "rename", rename)
    prepare(options, folder)
    assert all(seen)
    assert Store.open(folder).split("train")


def test_one_line_or_a_bar(make_arrays: ArraysMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = array_options(make_arrays())
    prepare(options, tmp_path / "store")
    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert written.startswith("store: prepared 20 training and 7 test images of 4 classes")
    prepare(options, tmp_path / "store", progress=True)
    assert "27/27" in capsys.readouterr().err


def test_description_can_be_read_without_this_program(make_folder: FolderMaker, tmp_path: Path) -> None:
    root = make_folder()
    prepare(folder_options(root), tmp_path / "store")
    text = (tmp_path / "store" / "store.json").read_text()
    assert str(tmp_path) not in text  # no absolute paths
    info = json.loads(text)
    assert info["classes"] == ["cat", "dog"]
    assert info["splits"]["train"]["per_class"] == [3, 3]
    assert info["options"]["image_size"] == 8
