"""Chunks cover every row once, run without gradients, and leave the caller's thread settings alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from clever.augmentation.cpu_chunks import in_chunks, put_rows_, set_rows, take_rows

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_every_row_is_processed_once(threads: int) -> None:
    seen = torch.zeros(1000, dtype=torch.int64)
    inner, lengths, states = [], [], []

    def work(rows: Tensor) -> None:
        seen[rows] += 1
        inner.append(torch.get_num_threads())
        lengths.append(len(rows))
        states.append(torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"))

    order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        in_chunks(work, order, 200_000, CPU)
    assert (seen == 1).all()
    assert max(lengths) == 5 * 2**20 // 200_000
    assert set(inner) == {1}
    assert not any(states)
    assert torch.get_num_threads() == threads


def test_chunks_are_the_same_for_any_number_of_threads(threads: int) -> None:
    lengths: list[int] = []
    in_chunks(lambda rows: lengths.append(len(rows)), torch.arange(20), 1000, CPU)
    assert sorted(lengths) == [2, *[3] * 6]
    assert threads == torch.get_num_threads()


def test_an_error_reaches_the_caller(threads: int) -> None:
    def work(rows: Tensor) -> None:
        raise ValueError(f"{threads} {len(rows)}")

    with pytest.raises(ValueError, match=f"{threads} 3"):
        in_chunks(work, torch.arange(24), 1000, CPU)


@pytest.mark.parametrize("side", [8, 100])
def test_rows_are_read_and_written(side: int) -> None:
    images = torch.rand(5, 3, side, side, generator=torch.Generator().manual_seed(0))
    before, rows = images.clone(), torch.tensor([3, 0])
    put_rows_(images, rows, 2 * take_rows(images, rows))
    assert torch.equal(images[rows], 2 * before[rows])
    assert torch.equal(images[[1, 2, 4]], before[[1, 2, 4]])


def test_set_rows_rejects_repeated_rows() -> None:
    assert [rows.tolist() for rows in set_rows(torch.tensor([True, False, True]), CPU)] == [[0, 2]]
    assert set_rows(torch.zeros(3, dtype=torch.bool), CPU) == []
