from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from clever import spirograph
from clever.data import DataOptions, Store, prepare
from clever.spirograph_images import render


def prepared(folder: Path, train_limit: int = 40, seed: int = 0) -> Store:
    options = DataOptions(source="spirograph", train_limit=train_limit, test_limit=8, subset_seed=seed)
    return prepare(options, folder)


def test_stored_images_are_drawn_from_the_stored_latents(tmp_path: Path) -> None:
    store = prepared(tmp_path / "store")
    assert store.latent_names == spirograph.NAMES
    assert store.classes == ("spirograph",)
    for name, count in (("train", 40), ("test", 8)):
        split = store.split(name)  # type: ignore[arg-type]
        assert len(split) == count
        assert split.latents is not None
        assert split.latents.dtype == torch.float32
        batch = split.images(range(count))  # type: ignore[arg-type]
        difference = batch.pixels.double() / 255 - render(split.latents.double())
        assert difference.abs().max() <= 0.5 / 255 + 1e-9  # only rounding
        assert split.labels.tolist() == [0] * count


def test_seed_and_split_choose_the_parameters_and_a_limit_only_their_number(tmp_path: Path) -> None:
    store = prepared(tmp_path / "store")
    again = prepared(tmp_path / "again")
    assert again.checksum == store.checksum
    more = prepared(tmp_path / "more", train_limit=60)
    other = prepared(tmp_path / "other", seed=1)
    latents = [np.load(s.folder / "train_latents.npy") for s in (store, more, other)]
    np.testing.assert_array_equal(latents[0], latents[1][:40])
    assert not np.isin(latents[0], latents[2]).any()
    assert not np.isin(latents[0], np.load(store.folder / "test_latents.npy")).any()


def test_without_limits_there_are_as_many_images_as_in_the_authors_script(tmp_path: Path) -> None:
    store = prepare(DataOptions(source="spirograph"), tmp_path / "store")
    assert (len(store.split("train")), len(store.split("test"))) == (5000, 1000)
