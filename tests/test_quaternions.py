from __future__ import annotations

import math

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from clever.quaternions import quaternion, relative_quaternion
from clever.randomness import make_generator


def angles(count: int, seed: int) -> Tensor:
    uniforms = torch.rand(count, 3, generator=make_generator(seed, "angles"), dtype=torch.float64)
    return math.pi * (uniforms - 0.5)


def test_quaternions_equal_scipy() -> None:
    some = angles(200, 0)
    expected = torch.from_numpy(Rotation.from_euler("xyz", some.numpy()).as_quat())
    torch.testing.assert_close(quaternion(some), expected, rtol=0, atol=1e-14)


def test_relative_rotation_leads_from_the_first_to_the_second() -> None:
    first, second = angles(200, 1), angles(200, 2)
    found = relative_quaternion(quaternion(first), quaternion(second))
    one, two = Rotation.from_euler("xyz", first.numpy()), Rotation.from_euler("xyz", second.numpy())
    product = torch.from_numpy((one.inv() * two).as_quat())
    # The sign of an inverse differs between SciPy releases; a quaternion and its negative are the same rotation.
    sign = (found * product).sum(1, keepdim=True).sign()
    torch.testing.assert_close(found, sign * product, rtol=0, atol=1e-14)
    reached = one * Rotation.from_quat(found.numpy())
    torch.testing.assert_close(
        torch.from_numpy(reached.as_matrix()), torch.from_numpy(two.as_matrix()), rtol=0, atol=1e-13
    )


def test_the_sign_of_the_product_is_kept() -> None:
    turn = torch.tensor([[math.pi / 2, 0.0, 0.0]], dtype=torch.float64)
    one, other = quaternion(-turn), quaternion(turn)
    same = relative_quaternion(one, one)
    torch.testing.assert_close(same, torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=torch.float64))
    # Angles may differ by up to pi per axis; then w may be negative, and it stays negative.
    far = relative_quaternion(
        quaternion(torch.full((1, 3), -1.5, dtype=torch.float64)),
        quaternion(torch.tensor([[1.5, -1.5, 1.5]], dtype=torch.float64)),
    )
    assert far[0, 3] < 0
    torch.testing.assert_close(
        relative_quaternion(one, other), torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    )
