from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from clever.data import Batches, DataOptions, ImageBatch, Split, prepare
from clever.data.loading import choose_placement
from clever.errors import UserError

from .conftest import ArraysMaker, FolderMaker

COUNT = 23


@pytest.fixture
def pixels(make_arrays: ArraysMaker, tmp_path: Path) -> Split:
    return prepare(DataOptions(source="arrays", root=str(make_arrays(train=COUNT))), tmp_path / "store").split("train")


@pytest.fixture
def encoded(make_folder: FolderMaker, tmp_path: Path) -> Split:
    options = DataOptions(source="image_folder", root=str(make_folder(train=6)), format="encoded")
    return prepare(options, tmp_path / "encoded").split("train")


def batches(split: Split, batch_size: int = 4, **options: Any) -> Batches:
    settings: dict[str, Any] = {"seed": 0, "device": "cpu"} | options
    return Batches(split, batch_size, **settings)


def rows(made: Batches, epoch: int = 0, start: int = 0) -> list[list[int]]:
    return [batch.indices.tolist() for batch in made.epoch(epoch, start)]


def same(one: ImageBatch, other: ImageBatch) -> bool:
    return all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in ("pixels", "sizes", "labels", "indices")
    )


@pytest.mark.parametrize("placement", ["device", "host", "stream"])
@pytest.mark.parametrize("drop_last", [True, False])
def test_every_placement_gives_the_images_of_the_split(pixels: Split, placement: str, drop_last: bool) -> None:
    made = batches(pixels, placement=placement, drop_last=drop_last, workers=3)
    assert made.placement == placement
    found = list(made.epoch(5))
    assert len(found) == len(made) == (5 if drop_last else 6)
    for batch in found:
        assert same(batch, pixels.images(batch.indices))
        assert batch.pixels.is_contiguous()
        assert batch.sizes.dtype == batch.indices.dtype == batch.labels.dtype == torch.int64
    assert [batch.indices.tolist() for batch in found] == rows(
        batches(pixels, placement="host", drop_last=drop_last), 5
    )


def test_encoded_images_are_streamed(encoded: Split) -> None:
    made = batches(encoded, 5, workers=2, drop_last=False)
    assert made.placement == "stream"
    found = list(made.epoch(0))
    assert [len(batch) for batch in found] == [5, 5, 2]
    for batch in found:
        assert same(batch, encoded.images(batch.indices))
    for placement in ("device", "host"):
        with pytest.raises(UserError, match=f"placement {placement} needs decoded pixels"):
            batches(encoded, placement=placement)


def test_each_epoch_visits_every_image_once_in_a_different_order(pixels: Split) -> None:
    made = batches(pixels, drop_last=False)
    first, second = (list(itertools.chain(*rows(made, epoch))) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(COUNT))
    assert first != second
    assert first != list(range(COUNT))
    assert rows(made, 1) == rows(batches(pixels, drop_last=False), 1)  # regardless of earlier draws
    assert rows(batches(pixels, drop_last=False, seed=1)) != rows(made)


def test_global_generator_is_not_used(pixels: Split) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = rows(batches(pixels))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert rows(batches(pixels)) == first


def test_without_shuffling_rows_come_as_stored(pixels: Split) -> None:
    made = batches(pixels, 10, shuffle=False, drop_last=False)
    assert rows(made, 3) == [list(range(10)), list(range(10, 20)), [20, 21, 22]]


@pytest.mark.parametrize("placement", ["device", "host", "stream"])
def test_start_skips_without_reading(pixels: Split, placement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = batches(pixels, placement=placement, workers=1)
    every = rows(made)
    read: list[int] = []
    fill = Split.fill

    def watched(self: Split, asked: Any, out: Any) -> None:
        read.extend(asked.tolist())
        fill(self, asked, out)

    monkeypatch.setattr(Split, "fill", watched)
    assert rows(made, start=3) == every[3:]
    assert sorted(read) == ([] if placement == "device" else sorted(itertools.chain(*every[3:])))
    assert rows(made, start=5) == []
    for start in (6, -1):
        with pytest.raises(UserError, match="of an epoch of 5 steps"):
            made.epoch(0, start)


@pytest.mark.parametrize("placement", ["device", "host"])
@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("drop_last", [True, False])
def test_processes_share_the_global_batches(pixels: Split, placement: str, world_size: int, drop_last: bool) -> None:
    options = {"drop_last": drop_last, "placement": placement}
    alone = rows(batches(pixels, 8, **options), 2)
    ranks = [rows(batches(pixels, 8, rank=rank, world_size=world_size, **options), 2) for rank in range(world_size)]
    assert [list(itertools.chain(*parts)) for parts in zip(*ranks, strict=True)] == alone
    for parts in zip(*ranks, strict=True):
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert [len(part) for part in ranks[1][:2]] == [8 // world_size] * 2


@pytest.mark.parametrize("placement", ["device", "host", "stream"])
def test_a_process_without_images_still_takes_the_step(pixels: Split, placement: str) -> None:
    sizes = []
    for rank in range(4):
        *_, last = batches(
            pixels, 20, shuffle=False, drop_last=False, rank=rank, world_size=4, placement=placement
        ).epoch(0)
        assert last.pixels.shape == (len(last), 3, 6, 6)
        sizes.append(len(last))
    assert sizes == [0, 1, 1, 1]


def test_wrong_sizes_are_rejected(pixels: Split) -> None:
    with pytest.raises(UserError, match="batch_size 5 must be a positive multiple of the 2 processes"):
        batches(pixels, 5, world_size=2)
    with pytest.raises(UserError, match="batch_size 24 exceeds the 23 images of the train split"):
        batches(pixels, 24)
    assert len(batches(pixels, 24, drop_last=False)) == 1


@pytest.mark.parametrize("placement", ["host", "stream"])
def test_leaving_an_epoch_early_leaves_no_thread(pixels: Split, placement: str) -> None:
    before = threading.active_count()
    epoch = batches(pixels, placement=placement, workers=4).epoch(0)
    next(epoch)
    assert threading.active_count() > before
    epoch.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_failing_reads_reach_the_caller(encoded: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise UserError("the disk went away")

    monkeypatch.setattr(Split, "fill", broken)
    before = threading.active_count()
    with pytest.raises(UserError, match="the disk went away"):
        list(batches(encoded).epoch(0))
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("encoded_store", "nbytes", "device", "free", "limit", "expected"),
    [
        (False, 150_000_000, "cuda", 60_100_000_000, None, ("device", "device: 0.15 GB fit in 60.1 GB free")),
        (False, 31_000_000_000, "cuda", 60_000_000_000, None, ("host", "host: 31.00 GB exceed 30.0 GB")),
        (False, 31_000_000_000, "cuda", 60_000_000_000, 40_000_000_000, ("device", "device: 31.00 GB fit")),
        (False, 150_000_000, "cuda", 60_000_000_000, 100_000_000, ("host", "host: 0.15 GB exceed 0.1 GB")),
        (False, 150_000_000, "cpu", None, None, ("host", "host: 0.15 GB read from memory-mapped files")),
        (True, 150_000_000, "cuda", 60_000_000_000, None, ("stream", "stream: 0.15 GB of encoded images")),
    ],
)
def test_automatic_placement(
    encoded_store: bool, nbytes: int, device: str, free: int | None, limit: int | None, expected: tuple[str, str]
) -> None:
    placement, reason = choose_placement("auto", encoded_store, nbytes, device, free, limit)
    assert placement == expected[0]
    assert reason.startswith(expected[1])


def test_processor_reads_from_the_memory_mapped_file(pixels: Split) -> None:
    made = batches(pixels)
    assert made.placement == "host"
    assert "cpu" in made.reason


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("placement", ["auto", "device", "host", "stream"])
def test_batches_on_the_accelerator(pixels: Split, encoded: Split, placement: Any) -> None:
    for split in (pixels, encoded):
        if split.encoded and placement in ("device", "host"):
            continue
        made = batches(split, device="cuda", placement=placement, workers=2)
        # Keep all batches until the end, to detect a buffer that is reused too early.
        for batch in [batch for epoch in range(20) for batch in made.epoch(epoch)]:
            assert batch.pixels.device.type == "cuda"
            assert batch.pixels.is_contiguous()
            assert same(batch.to("cpu"), split.images(batch.indices.cpu()))
    assert batches(pixels, device="cuda").placement == "device"
    assert batches(pixels, device="cuda", limit_bytes=10).placement == "host"
