"""Tables are transferred as one block and are unchanged, bit for bit."""

from __future__ import annotations

import pytest
import torch

from clever.augmentation.sample import Distributions, draw_uniforms, make_table
from clever.augmentation.tables import move, pack, split, stack, take, unpack
from clever.randomness import make_generator

SOME = Distributions(scale=(0.1, 1.0), flip=0.5, degrees=90.0, elastic=0.5, jitter=0.5, hue=0.1, blur=0.5)


def make(rows: int, seed: int = 0) -> dict[str, torch.Tensor]:
    sizes = torch.tensor([[480, 4000]]).expand(rows, 2)
    return make_table(draw_uniforms(rows, make_generator(seed)), sizes, SOME)


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_packing_is_exact(rows: int) -> None:
    table = make(rows)
    table["elastic_seed"] = torch.full((rows,), 2**31 - 1)
    back = unpack(pack(table), table)
    assert list(back) == list(table)
    for name, column in table.items():
        assert back[name].dtype == column.dtype
        assert torch.equal(back[name], column)


def test_stacking_and_splitting_are_inverse() -> None:
    one, two = make(4, 1), make(4, 2)
    first, second = split(stack([one, two]), 4)
    for name in one:
        assert torch.equal(first[name], one[name])
        assert torch.equal(second[name], two[name])
    rows = torch.tensor([5, 0])
    taken = take(stack([one, two]), rows)
    assert torch.equal(taken["angle"], torch.stack([two["angle"][1], one["angle"][0]]))


def test_moving_to_the_same_device_does_nothing() -> None:
    table = make(3)
    assert move(table, torch.device("cpu")) is table


def test_moving_to_another_device_keeps_shapes_and_dtypes() -> None:
    table = make(3)
    moved = move(table, torch.device("meta"))
    assert {name: (c.shape, c.dtype) for name, c in moved.items()} == {n: (c.shape, c.dtype) for n, c in table.items()}
    assert all(column.is_meta for column in moved.values())
