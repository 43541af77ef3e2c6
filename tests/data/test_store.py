from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clever.data import DataOptions, Store, prepare
from clever.errors import UserError

from .conftest import ArraysMaker, FolderMaker


@pytest.fixture
def store(make_arrays: ArraysMaker, tmp_path: Path) -> Store:
    return prepare(DataOptions(source="arrays", root=str(make_arrays())), tmp_path / "store")


def test_reopened_store_is_the_same(store: Store) -> None:
    again = Store.open(str(store.folder))
    assert (again.classes, again.mean, again.std, again.checksum) == (
        store.classes,
        store.mean,
        store.std,
        store.checksum,
    )
    again.verify()
    recorded = again.info["files"]["test_images.npy"]["sha256"]
    assert recorded == hashlib.sha256((store.folder / "test_images.npy").read_bytes()).hexdigest()


def test_images_come_in_the_requested_order(store: Store) -> None:
    split = store.split("train")
    stored = np.load(store.folder / "train_images.npy")
    batch = split.images(torch.tensor([7, 2, 7, 19]))
    np.testing.assert_array_equal(batch.pixels.numpy(), stored[[7, 2, 7, 19]].transpose(0, 3, 1, 2))
    assert batch.pixels.is_contiguous()
    assert batch.sizes.tolist() == [[6, 6]] * 4
    assert batch.indices.tolist() == [7, 2, 7, 19]
    assert batch.labels.tolist() == [3, 2, 3, 3]
    assert (len(split), split.image_size, split.nbytes) == (20, 6, 20 * 6 * 6 * 3)
    for rows in ([20], [-1]):
        with pytest.raises(IndexError):
            split.images(rows)


def test_batch_moves_as_a_whole(store: Store) -> None:
    moved = store.split("test").images([0, 1]).to("meta")
    for tensor in (moved.pixels, moved.sizes, moved.labels, moved.indices):
        assert tensor.device.type == "meta"


def test_reading_leaves_the_store_unchanged(store: Store) -> None:
    batch = store.split("train").images([0, 1])
    batch.pixels.zero_()
    store.split("train").labels.zero_()
    store.verify()
    assert store.split("train").images([0]).pixels.any()


def test_missing_store(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a prepared store \(no store\.json\)"):
        Store.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "webdataset"}, "not the description of a clever-store"),
        ({"version": 2}, "store version 2, this program reads version 1"),
        ({"layout": "tar"}, "is incomplete"),
        ({"mean": None}, "the key mean is missing"),
        ({"mean": [0.1, 0.2]}, "is incomplete"),
        ({"splits": {}}, "the key count is missing"),
        ({"splits": []}, "the key splits holds a list"),
        ({"files": {"train_images.npy": []}}, "damaged"),
        ({"classes": {"a": 1}}, "the key classes holds a dict"),
    ],
)
def test_other_formats_and_versions(store: Store, change: dict[str, Any], message: str) -> None:
    path = store.folder / "store.json"
    info = {key: value for key, value in (store.info | change).items() if value is not None}
    path.write_text(json.dumps(info))
    with pytest.raises(UserError, match=message):
        Store.open(store.folder)


def test_damaged_description(store: Store) -> None:
    path = store.folder / "store.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(UserError, match=r"store\.json: damaged, not valid JSON"):
        Store.open(store.folder)


def test_truncated_and_missing_files(store: Store) -> None:
    path = store.folder / "train_images.npy"
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(UserError, match=rf"train_images\.npy: has {len(data) - 1} bytes, {len(data)} were written"):
        Store.open(store.folder)
    path.unlink()
    with pytest.raises(UserError, match=r"train_images\.npy: is missing"):
        Store.open(store.folder)


def test_one_flipped_bit_is_found(store: Store) -> None:
    path = store.folder / "train_images.npy"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    opened = Store.open(store.folder)  # opening a store reads no pixels
    with pytest.raises(UserError, match=r"train_images\.npy: sha256 is"):
        opened.verify()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mean": [0.5, 0.5, 0.5]}, "does not match its checksum"),
        ({"classes": ["a", "b", "c", "e"]}, "does not match its checksum"),
        ({"checksum": "0" * 64}, "does not match its checksum"),
        ({"origin": "elsewhere"}, "was changed or damaged: the SHA-256 of its content"),
        ({"files": {}}, "is incomplete"),
    ],
)
def test_changed_description_is_found(store: Store, changes: dict[str, Any], words: str) -> None:
    path = store.folder / "store.json"
    path.write_text(json.dumps(store.info | changes))
    with pytest.raises(UserError, match=rf"store\.json: {words}"):
        Store.open(store.folder)


def test_a_store_of_an_older_version_is_read_without_a_checksum_of_the_rest(store: Store) -> None:
    path = store.folder / "store.json"
    path.write_text(json.dumps({key: value for key, value in store.info.items() if key != "content_sha256"}))
    assert Store.open(store.folder).checksum == store.checksum


def test_unknown_split(store: Store) -> None:
    with pytest.raises(UserError, match="no split val; a store has train and test"):
        store.split("val")  # type: ignore[arg-type]


def test_damaged_encoded_image_is_named(make_folder: FolderMaker, tmp_path: Path) -> None:
    options = DataOptions(source="image_folder", root=str(make_folder()), format="encoded")
    store = prepare(options, tmp_path / "store")
    path = store.folder / "train_bytes.bin"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(UserError, match="train image 2 is damaged"):
        Store.open(store.folder).split("train").images([2])
