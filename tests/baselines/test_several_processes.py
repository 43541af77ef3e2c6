"""Two processes over gloo against one: every baseline's loss, similarity and gradients equal those of the whole batch.

The file is also the program that the processes run: ``python -m tests.baselines.test_several_processes RESULT``.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clever.baselines import BASELINES, HeadOutput, Samples
from clever.collectives import average_over_processes, gather_rows, process_count, process_rank
from clever.execution.processes import joined_processes

from ..declared import declared
from ..tiny_methods import tiny_method

ROWS, WIDTH, VIEWS = 8, 6, 2
MAP_WIDTHS = 3, 4


def evaluate(name: str, quantity: str) -> dict[str, torch.Tensor]:
    """Value and gradients of one quantity with this process's rows, averaged as DistributedDataParallel does."""
    kind, options = BASELINES[name].kind, BASELINES[name].options
    # The state that a baseline keeps of earlier outputs (a centre, a queue) is as wide as the outputs. JOINED in a
    # baseline's test file: options for batches of ROWS images with WIDTH features.
    joined = declared("baselines", name, "JOINED") or {}
    width = {"out_dim": WIDTH} if "out_dim" in options.model_fields else {}
    baseline = kind(options.model_validate(tiny_method(name, "none")["baseline"] | width | joined))
    baseline.prepare(2 * ROWS, MAP_WIDTHS)
    baseline.start_epoch(0)
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    head = baseline.make_head(WIDTH)
    mine = slice(process_rank() * ROWS // process_count(), (process_rank() + 1) * ROWS // process_count())

    def views() -> list[HeadOutput]:
        common = torch.randn(ROWS, WIDTH, generator=generator)
        drawn = [common + torch.randn(2, ROWS, WIDTH, generator=generator) for _ in range(VIEWS)]
        return [HeadOutput(*(rows[mine].clone().requires_grad_() for rows in view)) for view in drawn]

    samples = None
    if options.reads_samples:
        rows = torch.arange(ROWS)[mine].repeat(2, 1)
        maps = [{n: torch.rand(ROWS, w, 5, 5)[mine] for n, w in enumerate(MAP_WIDTHS)} for _ in range(2)]
        samples = Samples(rows, rows % 4, maps=maps)
    for _ in range(3):
        baseline.observe_samples(views(), samples)
    student, teacher = views(), views()
    targets = teacher if options.has_momentum_teacher else student
    if quantity == "attract":
        value = baseline.attract_samples(student, targets, head, samples)
    else:
        value = baseline.similarity(student, targets, head)
    value.backward()
    found = {"value": average_over_processes(value.detach())}
    for number, view in enumerate(student):
        for field, tensor in zip(HeadOutput._fields, view, strict=True):
            gradient = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
            found[f"{field} {number}"] = gather_rows(gradient) / process_count()
    return found


def evaluate_all() -> dict[str, dict[str, torch.Tensor]]:
    return {f"{name}.{quantity}": evaluate(name, quantity) for name in BASELINES for quantity in QUANTITIES}


QUANTITIES = ("attract", "similarity")


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, torch.Tensor]]:
    """The results from two processes."""
    result = tmp_path_factory.mktemp("processes") / "result.pt"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.baselines.test_several_processes", str(result)],
            cwd=Path(__file__).parents[2],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], errors
    found: dict[str, dict[str, torch.Tensor]] = torch.load(result, weights_only=True)
    return found


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("name", BASELINES)
def test_two_processes_equal_one(name: str, quantity: str, of_two: dict[str, dict[str, torch.Tensor]]) -> None:
    expected, found = evaluate(name, quantity), of_two[f"{name}.{quantity}"]
    assert any(gradient.any() for field, gradient in expected.items() if field != "value")
    for field, value in expected.items():
        scale = max(value.abs().max().item(), 1e-8)
        torch.testing.assert_close(
            found[field], value, rtol=1e-4, atol=1e-5 * scale, msg=lambda m, f=field: f"{f}: {m}"
        )


if __name__ == "__main__":
    with joined_processes("cpu"):
        everything = evaluate_all()
        if process_rank() == 0:
            torch.save(everything, Path(sys.argv[1]))
