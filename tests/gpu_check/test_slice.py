"""A store made from a slice of the data equals the store made from all data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clever.data import DataOptions, prepare
from clever.errors import UserError
from clever.gpu_check.data import write_noise
from clever.gpu_check.slice import unpack_slice, write_slice


def test_the_store_has_the_same_checksum(tmp_path: Path) -> None:
    write_noise(tmp_path / "all", train=80, test=40)
    limits = {"source": "cifar10", "train_limit": 30, "test_limit": 20}
    whole = prepare(
        DataOptions.model_validate(limits | {"root": str(tmp_path / "all")}), tmp_path / "store", progress=False
    )
    write_slice(whole, tmp_path / "slice.npz")
    unpack_slice(tmp_path / "slice.npz", tmp_path / "carried")
    assert len(np.load(tmp_path / "carried" / "train_images.npy")) == 30
    carried = prepare(
        DataOptions.model_validate(limits | {"root": str(tmp_path / "carried")}), tmp_path / "other", progress=False
    )
    assert carried.checksum == whole.checksum


def test_a_file_that_is_not_a_slice_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "slice.npz").write_bytes(b"no archive")
    for path in (tmp_path / "slice.npz", tmp_path / "missing.npz"):
        with pytest.raises(UserError, match=r"not a slice of a data set.*clever\.gpu_check\.slice"):
            unpack_slice(path, tmp_path / "out")
