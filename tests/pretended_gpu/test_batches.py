"""Batches reach the pretended GPU from every placement, without waits or races."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clever.data import Batches, Store

from .gpu import DEVICE, CudaTensor, pretended_gpu
from .test_evaluation import BATCHES


@pytest.mark.parametrize("placement", ["device", "host", "stream"])
def test_batches_equal_the_cpu_s(placement: Any, digits_store: Store) -> None:
    split = digits_store.split("train")
    expected = list(Batches(split, 32, seed=3, device="cpu", placement=placement).epoch(1))
    with pretended_gpu() as gpu, gpu.waits_forbidden(BATCHES):
        batches = Batches(split, 32, seed=3, device=DEVICE, placement=placement)
        for batch, other in zip(batches.epoch(1), expected, strict=True):
            assert torch.equal(batch.sizes, other.sizes)
            for name in ("pixels", "labels", "indices"):
                tensor = getattr(batch, name)
                assert isinstance(tensor, CudaTensor)
                # An operation on the training stream, which must have waited for the copies.
                assert torch.equal((tensor + 0).value, getattr(other, name)), name
        per_epoch = {place: count for place, count in gpu.waits.items() if "_from_device" in place}
        assert sum(per_epoch.values()) == (1 if placement == "device" else 0)
        if placement != "device":
            assert not gpu.waits


def test_pixels_that_fit_are_kept_on_the_device(digits_store: Store) -> None:
    with pretended_gpu():
        assert Batches(digits_store.split("train"), 32, seed=0, device="cuda").placement == "device"
