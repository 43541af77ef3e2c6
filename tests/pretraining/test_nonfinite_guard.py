"""A step whose loss or gradient is not finite changes nothing, and its cause is named."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from timm.optim import Lars
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from clever.errors import UserError
from clever.pretraining.nonfinite_guard import SKIPPED_IN_A_ROW, Checked, Guard, NotFiniteError

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
) -> Checked:
    """Run a step on images drawn with its number as the seed; return the guard's finding."""
    images = torch.randn(8, 3, generator=torch.Generator().manual_seed(number))
    guard.begin()
    loss = network(images).square().mean()
    loss.backward()
    if poison is not None:
        poison()
    guard.step({"loss": loss.detach() * loss_factor})
    optimiser.zero_grad(set_to_none=True)
    return guard.check(number)


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
        assert one_step(network, guard, optimiser, number).faults == []
        one_step(twin, unguarded, other, number)
    before = copy.deepcopy(everything(network, optimiser))
    if where == "loss":
        assert one_step(network, guard, optimiser, 99, loss_factor=BAD[shown]) == ([], [f"loss is {shown} at step 99"])
    else:
        found = one_step(network, guard, optimiser, 99, poison=poison)
        assert found == ([], ["the gradient of 2.weight is not finite at step 99"])
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


def test_an_adamw_step_is_also_skipped_if_the_run_is_to_stop() -> None:
    network = make_network()
    optimiser = make_optimiser("adamw", network)
    guard = Guard(optimiser, network, [network], skip=False)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    with pytest.raises(NotFiniteError, match=r"^loss is inf at step 0$"):
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

    found = one_step(network, guard, optimiser, 0, poison=poison)
    assert found.faults == ["the gradient of 1.bias is not finite at step 0"]


class NoLook(TorchDispatchMode):
    """Rejects operations that would make the host wait for a number from the device."""

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
def test_no_step_makes_the_host_wait(name: str, skip: bool) -> None:
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


def small_guard(*, skip: bool = False) -> Guard:
    """A guard of one parameter, for steps with given scalars."""
    network = nn.Linear(1, 1, bias=False)
    network.weight.grad = torch.zeros(1, 1)
    return Guard(torch.optim.SGD(network.parameters(), lr=0.1), network, [network], skip)


def step(guard: Guard, *losses: float) -> None:
    """One step for each value of the only loss term."""
    for loss in losses:
        guard.step({"loss": torch.tensor(3 * loss), "loss_contrast": torch.tensor(loss)})


def test_a_check_covers_the_steps_since_the_last_check() -> None:
    guard = small_guard()
    step(guard, 0.5, 2.0)
    assert guard.check(1) == ([{"loss": 1.5, "loss_contrast": 0.5}, {"loss": 6.0, "loss_contrast": 2.0}], [])
    assert guard.check(1) == ([], [])
    step(guard, 1.0)
    assert guard.check(2) == ([{"loss": 3.0, "loss_contrast": 1.0}], [])


@pytest.mark.parametrize("shown", list(BAD))
def test_the_first_bad_step_and_its_term_are_named(shown: str) -> None:
    guard = small_guard()
    for iteration in range(10, 16):
        value = torch.tensor(BAD[shown] if iteration >= 13 else 1.0)
        one = torch.tensor(1.0)
        guard.step({"loss": value, "loss_contrast": one, "loss_orthogonality": value, "gradient_norm": value})
    with pytest.raises(NotFiniteError, match=f"^loss_orthogonality is {shown} at step 13$"):
        guard.check(15)


def test_every_bad_term_or_gradient_norm_is_named() -> None:
    nan, one = torch.tensor(float("nan")), torch.tensor(1.0)
    guard = small_guard()
    guard.step(
        {"loss": nan, "loss_contrast": nan, "loss_orthogonality": nan, "loss_head_norm": one, "gradient_norm": nan}
    )
    with pytest.raises(NotFiniteError, match=r"^loss_contrast is nan, loss_orthogonality is nan at step 0$"):
        guard.check(0)
    guard = small_guard()
    guard.step({"loss": one, "loss_contrast": one, "gradient_norm": nan})
    with pytest.raises(UserError, match=r"^gradient_norm is nan at step 7$"):
        guard.check(7)


def test_skipped_steps_are_named_and_their_scalars_are_left_out() -> None:
    guard, clean = small_guard(skip=True), small_guard()
    step(guard, 1.0, float("nan"), 2.0, float("inf"), float("inf"))
    step(clean, 1.0, 2.0)
    rows, faults = guard.check(4)
    assert faults == [
        "loss_contrast is nan at step 1",
        "loss_contrast is inf at step 3",
        "loss_contrast is inf at step 4",
    ]
    assert rows == clean.check(1).rows
    assert guard.in_a_row == 2


def test_too_many_in_a_row_are_an_error_across_checks_and_resumes() -> None:
    nan = float("nan")
    guard = small_guard(skip=True)
    for iteration in range(SKIPPED_IN_A_ROW):
        step(guard, nan)
        guard.check(iteration)
    resumed = small_guard(skip=True)
    resumed.in_a_row = guard.in_a_row
    step(resumed, nan)
    with pytest.raises(
        NotFiniteError, match=rf"is nan at step {SKIPPED_IN_A_ROW}, after {SKIPPED_IN_A_ROW} steps in a row"
    ):
        resumed.check(SKIPPED_IN_A_ROW)
    # One good step in between restarts the count.
    guard = small_guard(skip=True)
    for iteration in range(3 * SKIPPED_IN_A_ROW):
        step(guard, nan if iteration % SKIPPED_IN_A_ROW else 1.0)
    assert len(guard.check(3 * SKIPPED_IN_A_ROW - 1).faults) == 3 * (SKIPPED_IN_A_ROW - 1)
