"""The pretended GPU catches planted faults, and computes the same values as the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clever.data import Batches, Store
from clever.pretraining.trainer import Trainer

from .gpu import DEVICE, CudaTensor, HiddenWaitError, PretendedGpu, RaceError, WrongDeviceError, pretended_gpu


@pytest.fixture
def gpu() -> Iterator[PretendedGpu]:
    with pretended_gpu() as made:
        yield made


def on_gpu(*shape: int) -> Tensor:
    return torch.rand(*shape, device=DEVICE)


WAITS: dict[str, Callable[[Tensor], object]] = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x[0, 0]),
    "if": lambda x: bool((x > 2).any()),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "numpy by way of the host": lambda x: x.cpu().numpy(),
    "copy to the host": lambda x: torch.empty(2, 3).copy_(x),
    "nonzero": lambda x: x.nonzero(),
    "mask": lambda x: x[x > 0.5],
    "mask of rows": lambda x: x[torch.ones(2, dtype=torch.bool, device=DEVICE)],
    "assignment by a mask": lambda x: x.__setitem__(x > 0.5, torch.zeros(6, device=DEVICE)[: int(6 * 0.5)]),
    "masked_select": lambda x: x.masked_select(x > 0.5),
    "unique": lambda x: x.unique(),
    "equal": lambda x: torch.equal(x, x),
    "repeat": lambda x: x.repeat_interleave(torch.ones(2, dtype=torch.int64, device=DEVICE), 0),
    "inverse": lambda x: torch.linalg.inv(x @ x.T),
    "singular values": lambda x: torch.linalg.svdvals(x),
    "from a list": lambda x: x * torch.tensor([1.0, 2.0, 3.0], device=DEVICE),
    "new from a list": lambda x: x.new_tensor([1.0, 2.0]),
    "scalar": lambda _: torch.tensor(2.0, device=DEVICE),
    "from pageable memory": lambda _: torch.rand(3).to(DEVICE, non_blocking=True),
    "from pinned memory, at once": lambda _: torch.rand(3).pin_memory().to(DEVICE),
    "index on the host": lambda x: x[torch.tensor([0, 1])],
    "synchronize": lambda _: torch.cuda.synchronize(),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_wait_is_caught(name: str, gpu: PretendedGpu) -> None:
    x = on_gpu(2, 3)
    with gpu.waits_forbidden(), pytest.raises(HiddenWaitError, match="the test"):
        WAITS[name](x)


CLEAN: dict[str, Callable[[Tensor], Tensor]] = {
    "arithmetic with numbers": lambda x: 2.0 * x + 1,
    "a number on the host": lambda x: x * torch.tensor(2.0),
    "where": lambda x: torch.where(x > 0.5, x, 0.0),
    "masked fill": lambda x: x.masked_fill(x > 0.5, 0.0),
    "a number by a mask": lambda x: x.clone().index_put_((x > 0.5,), torch.zeros((), device=DEVICE)),
    "index": lambda x: x[torch.arange(1, device=DEVICE)],
    "pinned": lambda x: x + torch.ones(3).pin_memory().to(DEVICE, non_blocking=True),
    "pinned empty": lambda x: x + torch.zeros(3, pin_memory=True).to(DEVICE, non_blocking=True),
    "view": lambda x: x.clone()[:, 1:].mul_(2.0),
}


@pytest.mark.parametrize("name", CLEAN)
def test_operations_without_a_wait_pass(name: str, gpu: PretendedGpu) -> None:
    x = on_gpu(2, 3)
    with gpu.waits_forbidden():
        found = CLEAN[name](x)
    assert isinstance(found, CudaTensor)
    assert found.is_cuda
    assert found.device == DEVICE
    assert not gpu.waits


MIXED: dict[str, Callable[[Tensor], object]] = {
    "sum": lambda x: x + torch.ones(2, 3),
    "product": lambda x: x @ torch.ones(3, 2),
    "cat": lambda x: torch.cat([x, torch.ones(2, 3)]),
    "stack of scalars": lambda x: torch.stack([x[0, 0], torch.tensor(1.0)]),
    "layer": lambda x: nn.Linear(3, 2)(x),
    "in place": lambda x: torch.ones(2, 3).add_(x),
    "loss": lambda x: nn.functional.cross_entropy(x, torch.zeros(2, dtype=torch.int64)),
}


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.usefixtures("gpu")
def test_a_tensor_on_the_wrong_device_is_caught(name: str) -> None:
    x = on_gpu(2, 3)
    with pytest.raises(WrongDeviceError, match="on the host"):
        MIXED[name](x)


@pytest.mark.usefixtures("gpu")
def test_a_race_between_streams_is_caught() -> None:
    copies: Any = torch.cuda.Stream(DEVICE)
    with torch.cuda.stream(copies):
        x: Any = torch.ones(3).pin_memory().to(DEVICE, non_blocking=True)
        done = copies.record_event()
    with pytest.raises(RaceError, match="before it is ready"):
        x + 1
    torch.cuda.current_stream(DEVICE).wait_event(done)
    with pytest.raises(RaceError, match="without record_stream"):
        x + 1
    x.record_stream(torch.cuda.current_stream(DEVICE))
    assert (x + 1).value.tolist() == [2.0, 2.0, 2.0]


@pytest.mark.usefixtures("gpu")
def test_gradients_equal_torch_s_engine() -> None:
    """The graph includes broadcasting, a custom function, several uses of a leaf, a cast, and the gradient of a
    gradient."""

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, factor: float, y: Tensor) -> tuple[Tensor, Tensor]:
            ctx.save_for_backward(x, y)
            ctx.factor = factor
            return factor * x**3, y.clone()

        @staticmethod
        def backward(ctx: Any, first: Tensor, second: Tensor) -> tuple[Tensor, None, Tensor]:
            x, _ = ctx.saved_tensors
            return 3 * ctx.factor * x**2 * first, None, second

    def value(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
        hidden = torch.tanh(nn.functional.linear(x, weight, bias))
        first, second = Cube.apply(hidden, 0.5, bias)
        (slope,) = torch.autograd.grad(first.sum(), weight, create_graph=True)
        return (first.double() * second).sum().float() + slope.square().sum() + weight.norm()

    generator = torch.Generator().manual_seed(0)
    weight, bias, x = (torch.randn(shape, generator=generator) for shape in ((4, 3), (4,), (5, 3)))
    found = []
    for device in (torch.device("cpu"), DEVICE):
        leaves = [tensor.clone().to(device).requires_grad_() for tensor in (weight, bias)]
        value(*leaves, x.to(device)).backward()
        found.append([leaf.grad for leaf in leaves])
    for expected, gradient in zip(*found, strict=True):
        assert isinstance(gradient, CudaTensor)
        torch.testing.assert_close(gradient.value, expected)


@pytest.mark.parametrize("planted", ["item", "a tensor of the CPU", "none"])
def test_faults_planted_in_a_step_are_caught(
    planted: str, gpu: PretendedGpu, make_recipe: Any, digits_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(make_recipe(), digits_store.mean, digits_store.std, 6, DEVICE)
    batches = list(Batches(digits_store.split("train"), 16, seed=0, device=DEVICE, placement="device").epoch(0))
    trainer.step(batches[0], 0)
    attract = type(trainer.objective.baseline("IR")).attract

    def with_item(*arguments: Any) -> Any:
        loss = attract(*arguments)
        return loss if loss.item() > 0 else loss * 2

    def with_host(*arguments: Any) -> Any:
        return attract(*arguments) * torch.ones(1)

    if planted != "none":
        changed = with_item if planted == "item" else with_host
        monkeypatch.setattr(type(trainer.objective.baseline("IR")), "attract", changed)
    expected = {"item": HiddenWaitError, "a tensor of the CPU": WrongDeviceError}.get(planted)
    with gpu.waits_forbidden():
        if expected is None:
            trainer.step(batches[1], 1)
        else:
            with pytest.raises(expected):
                trainer.step(batches[1], 1)
