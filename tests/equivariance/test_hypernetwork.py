"""The hypernetwork, which never forms W(q), against products with W(q), in float64."""

from __future__ import annotations

import pytest
import torch

from clever.equivariance.hypernetwork import Hypernetwork
from clever.randomness import make_generator, seeded

ROWS, ENTRIES, WIDTH = 5, 4, 7


def double_network() -> Hypernetwork:
    with seeded(1):
        return Hypernetwork(ENTRIES, WIDTH, 1.0).double()


def test_it_equals_the_product_with_the_materialised_matrices() -> None:
    network, draw = double_network(), make_generator(0, "hypernetwork")
    e = torch.randn(ROWS, WIDTH, generator=draw, dtype=torch.float64)
    q = torch.randn(ROWS, ENTRIES, generator=draw, dtype=torch.float64)
    matrices = torch.zeros(ROWS, WIDTH, WIDTH, dtype=torch.float64)
    for row in range(ROWS):
        for entry in range(ENTRIES):
            matrices[row] += q[row, entry] * network.weight[entry].detach()
    expected = torch.bmm(matrices, e.unsqueeze(2)).squeeze(2)
    torch.testing.assert_close(network(e, q), expected, rtol=1e-12, atol=1e-12)


def test_its_gradients_equal_finite_differences() -> None:
    network, draw = double_network(), make_generator(1, "hypernetwork")
    e = torch.randn(3, WIDTH, generator=draw, dtype=torch.float64, requires_grad=True)
    q = torch.randn(3, ENTRIES, generator=draw, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda e, q, _: network(e, q), (e, q, network.weight))


def test_the_identity_quaternion_with_a_unit_matrix_does_not_change_embeddings() -> None:
    network, draw = double_network(), make_generator(2, "hypernetwork")
    with torch.no_grad():
        network.weight[3] = torch.eye(WIDTH)  # x, y, z, w
    e = torch.randn(ROWS, WIDTH, generator=draw, dtype=torch.float64)
    identity = torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=torch.float64).expand(ROWS, 4)
    assert torch.equal(network(e, identity), e)


def test_it_cannot_ignore_the_transformation() -> None:
    """The map is linear in q and has no bias: it gives 0 for q = 0, and the opposite for -q."""
    network, draw = double_network(), make_generator(3, "hypernetwork")
    e = torch.randn(ROWS, WIDTH, generator=draw, dtype=torch.float64)
    q = torch.randn(ROWS, ENTRIES, generator=draw, dtype=torch.float64)
    assert not network(e, 0 * q).any()
    torch.testing.assert_close(network(e, -q), -network(e, q))


@pytest.mark.parametrize("squared_length", [1.0, 9.0])
def test_initial_predictions_are_as_long_as_the_embeddings(squared_length: float) -> None:
    with seeded(4):
        network = Hypernetwork(ENTRIES, 256, squared_length)
    draw = make_generator(4, "hypernetwork")
    e = torch.randn(64, 256, generator=draw)
    q = torch.nn.functional.normalize(torch.randn(64, ENTRIES, generator=draw)) * squared_length**0.5
    assert network(e, q).square().mean().item() == pytest.approx(1.0, abs=0.05)


def test_bf16_autocast_rounds_the_products_only() -> None:
    with seeded(5):
        network = Hypernetwork(ENTRIES, WIDTH, 1.0)
    draw = make_generator(5, "hypernetwork")
    e, q = torch.randn(ROWS, WIDTH, generator=draw), torch.randn(ROWS, ENTRIES, generator=draw)
    with torch.autocast("cpu", torch.bfloat16):
        low = network(e, q)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, network(e, q), rtol=0, atol=0.05)


def test_the_linear_start_equals_a_linear_layer_s() -> None:
    """The distribution matches torch's layer from R to width^2 numbers, and predictions have the documented length."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        mine = Hypernetwork(4, 256, 1.0, start="linear").weight.detach()
        theirs = torch.nn.Linear(4, 256 * 256, bias=False).weight.detach()
        embedding, turn = torch.randn(8, 256), torch.nn.functional.normalize(torch.randn(8, 4), dim=1)
    assert mine.abs().max() <= 0.5
    assert mine.std().item() == pytest.approx(theirs.std().item(), rel=0.01)
    assert mine.abs().max().item() == pytest.approx(theirs.abs().max().item(), rel=1e-3)
    moved = torch.einsum("na,aij,nj->ni", turn, mine, embedding)
    # sqrt(width / 12), 9.2 for the authors' width of 1024
    assert (moved.norm(dim=1) / embedding.norm(dim=1)).mean().item() == pytest.approx((256 / 12) ** 0.5, rel=0.1)
