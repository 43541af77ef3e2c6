"""torch.compile: one graph for each size of view, without breaks, with the same values as without compilation."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clever.backbones import BackboneOptions, build_backbone
from clever.baselines import BASELINES, AnyBaseline, HeadOutput
from clever.baselines.options.simclr import SimclrOptions
from clever.baselines.simclr import Simclr

from ..tiny_methods import tiny_method


@pytest.fixture(autouse=True)
def _nothing_compiled_yet() -> Iterator[None]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def graphs() -> int:
    """The number of graphs; fails if there was a graph break."""
    counters = torch._dynamo.utils.counters
    assert not counters["graph_break"]
    return counters["stats"]["unique_graphs"]


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("settings", [{"name": "resnet10t_half"}, {"name": "vit_micro", "patch_size": 8}])
def test_a_backbone_is_one_graph_for_each_size_of_view(settings: dict[str, Any]) -> None:
    plain, compiled = (build_backbone(BackboneOptions(image_size=32, **settings), seed=0) for _ in range(2))
    compiled.compile(dynamic=False, backend="aot_eager")
    for size in (32, 16, 32, 16):
        images = random(size, 4, 3, size, size)
        torch.testing.assert_close(compiled(images), plain(images))
    assert graphs() == 2
    for network in (plain, compiled):
        network(random(1, 4, 3, 32, 32)).square().mean().backward()
    for one, other in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def takes_its_head(kind: type[AnyBaseline]) -> bool:
    return inspect.signature(kind.attract).parameters["head"].default is inspect.Parameter.empty


@pytest.mark.parametrize(
    "name",
    [name for name, entry in BASELINES.items() if not takes_its_head(entry.kind) and not entry.options.reads_samples],
)
def test_the_loss_of_a_baseline_is_one_graph(name: str) -> None:
    """SwAV's loss also takes the head, and supremix's also takes the images' targets; neither is compiled."""
    kind, options = BASELINES[name].kind, BASELINES[name].options
    baseline = kind(options.model_validate(tiny_method(name, "none")["baseline"]))
    made = baseline.make_head(12)(random(0, 8, 12))

    def outputs() -> tuple[list[HeadOutput], list[HeadOutput], list[Tensor]]:
        student, teacher, leaves = [], [], []
        for view in range(2):
            tensors = [random(view + 1, *field.shape).requires_grad_() for field in made if field is not None]
            leaves += tensors
            student.append(HeadOutput(tensors[0], tensors[1] if len(tensors) > 1 else None))
            teacher.append(HeadOutput(random(view + 3, *made.projection.shape), None))
        return student, teacher, leaves

    def gradients(attract: Any) -> list[Tensor]:
        student, teacher, leaves = outputs()
        torch.manual_seed(0)  # some losses draw random numbers
        loss = attract(student, teacher)
        found = torch.autograd.grad(loss, leaves, allow_unused=True)
        return [loss.detach(), *(gradient for gradient in found if gradient is not None)]

    expected = gradients(baseline.attract)
    torch.testing.assert_close(
        gradients(torch.compile(lambda s, t: baseline.attract(s, t), backend="aot_eager")),
        expected,
        rtol=1e-4,
        atol=1e-6,
    )
    assert graphs() == 1


@pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler, and there is no c++ on PATH")
def test_inductor_s_kernels_compute_the_same() -> None:
    """A projector and the loss of SimCLR, forward and backward, in generated C++."""
    baseline = Simclr(SimclrOptions(hidden_dim=16, out_dim=8))
    head: nn.Module = baseline.make_head(12)

    def loss(features: Tensor) -> Tensor:
        outputs = [head(view) for view in features.chunk(2)]
        return baseline.attract(outputs, outputs)

    found = []
    for function in (loss, torch.compile(loss, dynamic=False)):
        features = random(0, 16, 12).requires_grad_()
        value = function(features)
        value.backward()
        found.append((value.detach(), features.grad))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)
    assert graphs() == 1
