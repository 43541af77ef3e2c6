"""Batches of two different images of every object."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any, cast

import numpy as np
import pytest
import torch

from clever.data import Batches, Split
from clever.errors import UserError

GROUPS = torch.tensor([5, 2, 2, 7, 5, 2, 9, 5, 7, 5, 11, 11, 11])
"""Objects 2, 5, 7 and 11 have 3, 4, 2 and 3 images; object 9 has a single one."""


class Photographs:
    """The parts of a split that pairs need; each image is represented by its row number."""

    name, folder, encoded, nbytes = "train", "somewhere", False, 13 * 12
    labels = GROUPS % 3
    latents = torch.arange(13.0).unsqueeze(1)

    def __init__(self, groups: torch.Tensor | None = GROUPS) -> None:
        self.groups = groups

    def __len__(self) -> int:
        return len(GROUPS)

    def extent(self, rows: Any) -> tuple[int, int]:
        return 2, 2

    def sizes(self, rows: Any) -> torch.Tensor:
        return torch.full((len(rows), 2), 2)

    def fill(self, rows: Any, out: Any) -> None:
        out[:] = rows[:, None, None, None]


def pairs(batch_size: int = 2, groups: torch.Tensor | None = GROUPS, **options: Any) -> Batches:
    settings: dict[str, Any] = {"seed": 0, "device": "cpu"} | options
    return Batches(cast(Split, Photographs(groups)), batch_size, pairs=True, **settings)


@pytest.mark.parametrize("placement", ["device", "host", "stream"])
def test_halves_are_different_images_of_the_same_objects(placement: str) -> None:
    made = pairs(placement=placement, workers=2)
    assert len(made) == 2
    for epoch in range(3):
        seen = []
        for batch in made.epoch(epoch):
            first, second = batch.indices.chunk(2)
            assert len(first) == 2
            assert torch.equal(GROUPS[first], GROUPS[second])
            assert (first != second).all()
            assert torch.equal(batch.pixels[:, 0, 0, 0].long(), batch.indices)
            assert torch.equal(batch.labels, GROUPS[batch.indices] % 3)
            assert batch.latents is not None
            assert torch.equal(batch.latents[:, 0].long(), batch.indices)
            seen += GROUPS[first].tolist()
        assert sorted(seen) == [2, 5, 7, 11]


def test_all_ordered_pairs_of_an_object_are_equally_likely() -> None:
    made = pairs(4)
    counts: Counter[tuple[int, int]] = Counter()
    for epoch in range(3000):
        (rows,) = (made._rows(made._order(epoch), step) for step in range(1))
        counts.update((int(one), int(two)) for one, two in zip(*rows.chunk(2), strict=True))
    for objects in ((1, 2, 5), (0, 4, 7, 9), (3, 8), (10, 11, 12)):
        possible = list(itertools.permutations(objects, 2))
        observed = np.array([counts.pop(pair) for pair in possible])
        expected = 3000 / len(possible)
        # Allow six standard deviations of a binomial count.
        assert (np.abs(observed - expected) < 6 * np.sqrt(expected)).all()
    assert not counts


def drawn(made: Batches, epoch: int) -> list[list[int]]:
    return [batch.indices.tolist() for batch in made.epoch(epoch)]


def test_pairs_depend_on_epoch_and_seed() -> None:
    assert drawn(pairs(), 4) == drawn(pairs(), 4)
    assert drawn(pairs(), 4) != drawn(pairs(), 5)
    assert drawn(pairs(seed=1), 4) != drawn(pairs(), 4)
    assert [batch.indices.tolist() for batch in pairs().epoch(4, start=1)] == drawn(pairs(), 4)[1:]


def test_without_shuffling_objects_come_in_order_with_fresh_pairs() -> None:
    made = pairs(3, shuffle=False, drop_last=False)
    assert len(made) == 2
    epochs = [drawn(made, epoch) for epoch in range(5)]
    for batches in epochs:
        assert [GROUPS[rows].tolist() for rows in batches] == [[2, 5, 7, 2, 5, 7], [11, 11]]
    assert any(epoch != epochs[0] for epoch in epochs)


@pytest.mark.parametrize("drop_last", [True, False])
def test_processes_share_the_objects_of_a_batch(drop_last: bool) -> None:
    alone = drawn(pairs(4, drop_last=drop_last), 2)
    ranks = [drawn(pairs(4, drop_last=drop_last, rank=rank, world_size=2), 2) for rank in range(2)]
    for whole, *parts in zip(alone, *ranks, strict=True):
        halves = [torch.tensor(part).chunk(2) for part in parts]
        assert torch.cat([first for first, _ in halves] + [second for _, second in halves]).tolist() == whole


def test_data_that_cannot_be_paired_are_rejected() -> None:
    with pytest.raises(UserError, match="does not record which images show the same object"):
        pairs(groups=None)
    with pytest.raises(UserError, match="no object of the train split has two images"):
        pairs(groups=torch.arange(13))
    with pytest.raises(UserError, match="batch_size 5 exceeds the 4 objects of the train split"):
        pairs(5)
