"""Known latents of each image, and groups of images, from the source to the batches."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from clever.data import SOURCES, Batches, DataOptions, Store, prepare
from clever.data.arrays import read_arrays
from clever.data.source import SPLITS, ArraySplit, Source
from clever.data.store import content_checksum
from clever.errors import UserError

from .conftest import ArraysMaker

NAMES = ("angle", "hue")


def known(count: int) -> NDArray[np.float32]:
    return np.stack([np.arange(count) + 0.25, -np.arange(count)], 1).astype(np.float32)


def with_latents(latents: Any, groups: bool, options: DataOptions) -> Source:
    """The reader of ``make_store``."""
    source = read_arrays(options)
    splits: dict[str, Any] = {}
    for split in SPLITS:
        found = source.split(split)
        assert isinstance(found, ArraySplit)
        count = len(found.labels)
        numbers = np.arange(count) // 3
        splits[split] = replace(
            found,
            labels=numbers % 4 if groups else found.labels,
            latents=known(count) if latents is None else latents[:count],
            groups=numbers if groups else None,
        )
    return replace(source, **splits, latent_names=NAMES)


@pytest.fixture
def make_store(make_arrays: ArraysMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A store of 20 and 7 images, each with two latents and a group from 0 0 0 1 1 1 ...; everything can be
    overridden."""

    def make(name: str = "store", latents: Any = None, groups: bool = True, **options: Any) -> Store:
        kind = replace(SOURCES["arrays"], reader=f"{__name__}:with_latents", arguments=(latents, groups))
        monkeypatch.setitem(SOURCES, "arrays", kind)
        root = tmp_path / "arrays"
        if not root.exists():
            make_arrays()
        return prepare(DataOptions(source="arrays", root=str(root), **options), tmp_path / name)

    return make


def test_a_store_keeps_latents_in_separate_files(make_store: Any) -> None:
    store = make_store()
    np.testing.assert_array_equal(np.load(store.folder / "train_latents.npy"), known(20))
    np.testing.assert_array_equal(np.load(store.folder / "test_groups.npy"), np.arange(7) // 3)
    again = Store.open(store.folder)
    again.verify()
    assert again.latent_names == NAMES
    split = again.split("train")
    assert split.latents is not None
    assert split.groups is not None
    assert (split.latents.dtype, split.groups.dtype) == (torch.float32, torch.int64)
    assert split.latents[4].tolist() == [4.25, -4.0]
    assert split.groups.tolist() == [row // 3 for row in range(20)]
    assert split.images([3, 1]).latents.tolist() == [[3.25, -3.0], [1.25, -1.0]]  # type: ignore[union-attr]


def test_checksum_depends_on_the_latents(make_store: Any) -> None:
    store = make_store()
    assert make_store("same").checksum == store.checksum
    assert make_store("changed", latents=known(20) + 1).checksum != store.checksum
    assert make_store("ungrouped", groups=False).checksum != store.checksum
    path = store.folder / "store.json"
    path.write_text(json.dumps(store.info | {"latent_names": ["hue", "angle"]}))
    with pytest.raises(UserError, match="does not match its checksum"):
        Store.open(store.folder).verify()


def test_a_store_without_latents_is_unchanged(tmp_path: Path) -> None:
    for name, count in (("train", 6), ("test", 3)):
        np.save(tmp_path / f"{name}_images.npy", (np.arange(count * 48).reshape(count, 4, 4, 3) % 251).astype(np.uint8))
        np.save(tmp_path / f"{name}_labels.npy", np.arange(count) % 3)
    store = prepare(DataOptions(source="arrays", root=str(tmp_path)), tmp_path / "store")
    # The result of the program before stores could hold latents.
    assert store.checksum == "b05c8fc835c94673c421f013f144561bc7c011e1d2ecf918822d54612191ccb6"
    assert "latent_names" not in store.info
    assert store.latent_names == ()
    split = store.split("train")
    assert (split.latents, split.groups, split.images([0]).latents) == (None, None, None)
    assert next(Batches(split, 2, seed=0, device="cpu").epoch(0)).latents is None


@pytest.mark.parametrize(
    "change",
    [
        {"latent_names": []},
        {"latent_names": "angle"},
        {"latent_names": [1, 2]},
        {"files": "train_latents.npy"},
        {"files": "test_groups.npy"},
    ],
)
def test_descriptions_that_do_not_fit_are_refused(make_store: Any, change: dict[str, Any]) -> None:
    store = make_store()
    if "files" in change:
        change = {"files": {name: file for name, file in store.info["files"].items() if name != change["files"]}}
    (store.folder / "store.json").write_text(json.dumps(store.info | change))
    with pytest.raises(UserError, match="is incomplete"):
        Store.open(store.folder)


def test_files_of_the_wrong_shape_are_rejected(make_store: Any) -> None:
    store = make_store()
    # Changed deliberately, with matching checksums.
    info = {key: value for key, value in store.info.items() if key != "content_sha256"} | {"latent_names": ["angle"]}
    (store.folder / "store.json").write_text(json.dumps(info | {"checksum": content_checksum(info)}))
    with pytest.raises(UserError, match=r"train_latents\.npy: holds float32 \(20, 2\), expected"):
        Store.open(store.folder).split("train")
    store = make_store("other")
    np.save(store.folder / "train_groups.npy", np.arange(20, dtype=np.float64))
    with pytest.raises(UserError, match=r"train_groups\.npy: holds float64"):
        Store.open(store.folder).split("train")
    (store.folder / "train_groups.npy").unlink()
    with pytest.raises(UserError, match=r"train_groups\.npy: is missing"):
        Store.open(store.folder)


@pytest.mark.parametrize("placement", ["device", "host", "stream"])
def test_batches_hold_the_latents_of_each_image(make_store: Any, placement: Any) -> None:
    split = make_store().split("train")
    for batch in Batches(split, 6, seed=3, device="cpu", placement=placement, drop_last=False, workers=2).epoch(1):
        assert batch.latents is not None
        np.testing.assert_array_equal(batch.latents, known(20)[batch.indices])
        moved = batch.to("meta")
        assert moved.latents is not None
        assert moved.latents.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("placement", ["device", "host", "stream"])
def test_batches_on_the_accelerator_hold_the_latents_of_each_image(make_store: Any, placement: Any) -> None:
    split = make_store().split("train")
    made = Batches(split, 5, seed=3, device="cuda", placement=placement, pairs=False, workers=2)
    # Keep all batches until the end, to detect a buffer that is reused too early.
    for batch in [batch for epoch in range(20) for batch in made.epoch(epoch)]:
        assert batch.latents is not None
        assert batch.latents.device.type == "cuda"
        np.testing.assert_array_equal(batch.latents.cpu(), known(20)[batch.indices.cpu()])


def test_an_image_with_unreadable_latents_is_left_out(make_store: Any) -> None:
    damaged = known(20)
    damaged[4, 1] = np.nan
    with pytest.raises(UserError, match=r"2 unreadable, .*row 4 \(latents \[4\.25, nan\]; they must be 2 finite numb"):
        make_store(latents=damaged)
    store = make_store(latents=damaged, unreadable_limit=2)
    split = store.split("train")
    kept = [row for row in range(20) if row != 4]
    np.testing.assert_array_equal(split.latents, known(20)[kept])
    assert split.groups.tolist() == [row // 3 for row in kept]
    assert split.labels.tolist() == [row // 3 % 4 for row in kept]


def test_latents_of_the_wrong_shape_are_named(make_store: Any) -> None:
    with pytest.raises(UserError, match=r"latents of float32 \[3\]; they must be 2 finite numbers \(angle, hue\)"):
        make_store(latents=np.zeros((20, 3), dtype=np.float32))


def test_limits_without_groups_keep_latents_in_step(make_store: Any) -> None:
    store = make_store(groups=False, train_limit=9, test_limit=4)
    split = store.split("train")
    stored = np.load(store.folder.parent / "arrays" / "train_images.npy")
    rows = split.latents[:, 0].long().numpy()
    assert len(rows) == 9
    np.testing.assert_array_equal(np.load(store.folder / "train_images.npy"), stored[rows])


def test_limits_keep_whole_groups(make_store: Any) -> None:
    kept = {}
    for limit in (11, 12, 14, 16, 17, 20):
        split = make_store(f"store{limit}", train_limit=limit).split("train")
        numbers, counts = np.unique(split.groups, return_counts=True)
        whole = np.bincount(np.arange(20) // 3)
        assert (counts == whole[numbers]).all()
        assert len(np.unique(split.labels)) == 4
        assert len(split) <= limit
        kept[limit] = set(numbers.tolist())
    # There are six groups of three images and one of two, which is among the first groups.
    assert [len(kept[limit]) for limit in (11, 12, 14, 16, 17, 20)] == [4, 4, 5, 5, 6, 7]
    assert kept[11] <= kept[14] <= kept[17] <= kept[20]
    with pytest.raises(
        UserError, match=r"train_limit 10 cannot keep all 4 classes with a whole object each; set it to 11"
    ):
        make_store("small", train_limit=10)
