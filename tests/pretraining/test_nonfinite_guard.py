"""A step whose loss or gradient is not finite moves nothing, and names the parameter."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from timm.optim import Lars
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from clever.pretraining.nonfinite_guard import Guard

BAD = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


def make_network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def make_optimiser(name: str, network: nn.Module) -> torch.optim.Optimizer:
    if name == "adamw":
        return torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)
    if name == "lars":
        return Lars(network.parameters(), lr=0.1, momentum=0.9)
    return torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, foreach=True)


def one_step(
    network: nn.Sequential, guard: Guard, optimiser: Any, number: int, *, loss_factor: float = 1.0, poison: Any = None
) -> int:
    """A step on images drawn from its number; the place of the parameter that was named."""
    images = torch.randn(8, 3, generator=torch.Generator().manual_seed(number))
    guard.begin()
    loss = network(images).square().mean()
    loss.backward()
    if poison is not None:
        poison()
    guard.step({"loss": loss.detach() * loss_factor})
    optimiser.zero_grad(set_to_none=True)
    assert guard.broken is not None
    return int(guard.broken)


def everything(network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = {name: value.clone() for name, value in network.state_dict().items()}
    for place, remembered in optimiser.state_dict()["state"].items():
        for name, value in remembered.items():
            state[f"{place}.{name}"] = torch.as_tensor(value).clone()
    return state


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars"])
@pytest.mark.parametrize("shown", list(BAD))
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_skipped_step_leaves_the_bits_of_a_run_without_it(name: str, shown: str, where: str) -> None:
    network, twin = make_network(), make_network()
    optimiser, other = make_optimiser(name, network), make_optimiser(name, twin)
    guard = Guard(optimiser, network, [network], skip=True)
    unguarded = Guard(other, twin, [twin], skip=False)

    def poison() -> None:
        gradient = network[2].weight.grad
        assert gradient is not None
        gradient[1, 2] = BAD[shown]

    for number in range(3):
        assert one_step(network, guard, optimiser, number) == -1
        one_step(twin, unguarded, other, number)
    before = copy.deepcopy(everything(network, optimiser))
    if where == "loss":
        assert one_step(network, guard, optimiser, 99, loss_factor=BAD[shown]) == -1
    else:
        assert guard.names[one_step(network, guard, optimiser, 99, poison=poison)] == "2.weight"
    after = everything(network, optimiser)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    one_step(network, guard, optimiser, 3)
    one_step(twin, unguarded, other, 3)
    mine, theirs = everything(network, optimiser), everything(twin, other)
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert not torch.equal(mine["0.weight"], before["0.weight"])


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars"])
def test_the_very_first_step_can_be_skipped(name: str) -> None:
    network, twin = make_network(), make_network()
    optimiser, other = make_optimiser(name, network), make_optimiser(name, twin)
    guard = Guard(optimiser, network, [network], skip=True)
    one_step(network, guard, optimiser, 7, loss_factor=float("nan"))
    assert all(torch.equal(value, twin.state_dict()[name]) for name, value in network.state_dict().items())
    unguarded = Guard(other, twin, [twin], skip=False)
    for number in range(2):
        one_step(network, guard, optimiser, number)
        one_step(twin, unguarded, other, number)
    mine, theirs = everything(network, optimiser), everything(twin, other)
    assert all(torch.equal(mine[key], theirs[key]) for key in mine if not key.endswith(".step"))


def test_where_the_run_is_to_stop_an_adamw_step_is_not_taken_either() -> None:
    network = make_network()
    optimiser = make_optimiser("adamw", network)
    guard = Guard(optimiser, network, [network], skip=False)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    one_step(network, guard, optimiser, 0, loss_factor=float("inf"))
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_a_parameter_without_a_gradient_does_not_shift_the_names() -> None:
    network = make_network()
    network[0].requires_grad_(False)
    optimiser = make_optimiser("sgd", network)
    guard = Guard(optimiser, network, [network], skip=True)

    def poison() -> None:
        assert network[1].bias.grad is not None
        network[1].bias.grad[0] = float("inf")
        assert network[2].bias.grad is not None
        network[2].bias.grad[0] = float("nan")

    assert guard.names[one_step(network, guard, optimiser, 0, poison=poison)] == "1.bias"


class NoLook(TorchDispatchMode):
    """Refuses whatever would have the host wait for a number from the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        looks = {
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
            torch.ops.aten.equal.default,
        }
        assert func not in looks, f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars"])
@pytest.mark.parametrize("skip", [False, True])
def test_no_step_has_the_host_wait(name: str, skip: bool) -> None:
    network = make_network()
    optimiser = make_optimiser(name, network)
    guard = Guard(optimiser, network, [network], skip)
    with NoLook(), pytest.raises(AssertionError, match="waits for the device"):
        torch.ones(1).sum().item()
    for _ in range(2):
        with NoLook():
            guard.begin()
        loss = network(torch.ones(8, 3)).square().mean()
        loss.backward()
        with NoLook():
            guard.step({"loss": loss.detach()})
