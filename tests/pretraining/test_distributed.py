"""Two processes over gloo against one: the same global batches must train the same network.

The file is also the program that the processes run: ``python test_distributed.py STORE RESULT RECIPE ...``.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clever.collectives import (
    any_process,
    average_over_processes,
    gather_rows,
    is_main_process,
    process_count,
    process_rank,
    uniform_rows,
)
from clever.data import Batches, ImageBatch, Store
from clever.errors import UserError
from clever.execution.processes import joined_processes
from clever.pretraining.online_probe import OnlineProbe
from clever.pretraining.options import OnlineProbeOptions
from clever.pretraining.recipe import RunRecipe
from clever.pretraining.trainer import Trainer

VIT = {"name": "test_vit", "image_size": 16, "patch_size": 8}
# SGD, because AdamW's first steps divide gradients by their size, and turn rounding errors of the smallest into whole
# steps.
STEPS = {"optimiser": "sgd", "learning_rate": 0.5, "clip_gradient": 3.0}
# Sums over rows are added in another order. Float32 rounds to 6e-8, and a gradient has a thousand summands.
LOSS_TOLERANCE, GRADIENT_TOLERANCE, STEP_TOLERANCE = 1e-6, 2e-5, 2e-4


def train_shortly(recipe: RunRecipe, store: Store, steps: int = 4) -> dict[str, Any]:
    """This process's values after the first gradients and after some steps."""
    device = torch.device("cpu")
    assert recipe.optimisation is not None
    batches = Batches(
        store.split("train"),
        recipe.optimisation.batch_size,
        seed=0,
        device=device,
        rank=process_rank(),
        world_size=process_count(),
    )

    def begin() -> Trainer:
        images = len(store.split("train"))
        trainer = Trainer(recipe, store.mean, store.std, len(batches), device, training_images=images)
        trainer.objective.start_epoch(0)
        return trainer

    trainer, first = begin(), next(batches.epoch(0))
    values = trainer.compute_gradients(first, 0)
    gradients = {name: p.grad.clone() for name, p in trainer.student.named_parameters() if p.grad is not None}
    result: dict[str, Any] = {"values": averaged(values), "gradients": gradients}

    trainer = begin()
    begun = {name: value.clone() for name, value in trainer.objective.state_dict().items()}
    losses = [averaged(trainer.step(batch, step)) for step, batch in zip(range(steps), batches.epoch(0), strict=False)]
    # 49 images, which two processes cannot share evenly.
    probe = OnlineProbe(OnlineProbeOptions(images=49, passes=2), store, trainer.parts, 64, 16, device)
    probed = [probe.measure(trainer.trained_backbone(), epoch) for epoch in range(2)]
    found = {"losses": losses, "state": trainer.state_dict(), "diagnosis": trainer.diagnose()}
    return result | found | {"begun": begun, "probed": probed, "probe": probe.state_dict()["classifiers"]}


def averaged(values: dict[str, Tensor]) -> dict[str, float]:
    return {name: average_over_processes(value).item() for name, value in values.items()}


def gather_gradient() -> Tensor:
    """The gradient of a loss on all pairs of rows with respect to a weight that every process holds."""
    rows = torch.arange(8.0).view(4, 2).chunk(process_count())[process_rank()]
    weight = torch.tensor([[1.0, 2.0], [3.0, -1.0]], requires_grad=True)
    everyone = gather_rows(rows @ weight)
    (everyone @ everyone.T).tanh().mul(torch.arange(16.0).view(4, 4)).mean().backward()
    assert weight.grad is not None
    return average_over_processes(weight.grad)  # as DistributedDataParallel does


def draw_differently_seeded() -> list[Tensor]:
    """Uniform numbers for all rows, drawn twice, and then one number that this process draws by itself."""
    torch.manual_seed(process_rank())
    twice = [gather_rows(uniform_rows(6 // process_count(), 3, device=torch.device("cpu"))) for _ in range(2)]
    return [*twice, gather_rows(torch.rand(1))]


def main(store: str, result: str, *recipes: str) -> None:
    with joined_processes("cpu"):
        opened = Store.open(Path(store))
        found = {
            "trained": [train_shortly(RunRecipe.model_validate_json(recipe), opened) for recipe in recipes],
            "gathered": gather_gradient(),
            "drawn": draw_differently_seeded(),
            "flags": any_process([process_rank() == 1, False], torch.device("cpu")),
        }
        if is_main_process():
            torch.save(found, result)


def launch(*arguments: str, processes: int = 2) -> list[subprocess.Popen[str]]:
    """Start processes as torchrun does, so that each can be waited for and signalled separately."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared = address | {"WORLD_SIZE": str(processes), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, *arguments],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]


def finish(started: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Exit status and standard error of each."""
    try:
        return [(process.wait(timeout=120), process.communicate()[1]) for process in started]
    finally:
        for process in started:
            process.kill()


INTERCLR = {
    "name": "interclr",
    "hidden_dim": 16,
    "out_dim": 8,
    "queue_length": 32,
    "images_per_cluster": 12,
    "min_cluster": 2,
    "clustering_epoch": 0,
}
CASES: dict[str, dict[str, Any]] = {
    "whole": {"optimisation": STEPS},
    "in_parts": {"optimisation": STEPS | {"accumulate": 2, "checkpoint_activations": True}},
    "with_memory": {
        "optimisation": STEPS | {"learning_rate": 0.05},
        "augmentation": {"local_views": 0},
        "method": {"baseline": INTERCLR, "equivariance": {"name": "clever"}},
    },
}
STATE = {"whole": "centre", "in_parts": "centre", "with_memory": "memory"}
"""Suffixes of the names of buffers in which a baseline keeps earlier outputs."""


@pytest.fixture(scope="module")
def recipes(make_recipe: Any) -> list[RunRecipe]:
    def made(method: Any = None, **settings: Any) -> RunRecipe:
        recipe: RunRecipe = make_recipe(backbone=VIT, **settings)
        return recipe if method is None else RunRecipe.model_validate(recipe.model_dump() | {"method": method})

    return [made(**case) for case in CASES.values()]


@pytest.fixture(scope="module")
def of_two(recipes: list[RunRecipe], digits_store: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results of ``main`` in two processes."""
    result = tmp_path_factory.mktemp("processes") / "result.pt"
    recipe_texts = [recipe.model_dump_json() for recipe in recipes]
    outcomes = finish(launch(__file__, str(digits_store.folder), str(result), *recipe_texts))
    assert [status for status, _ in outcomes] == [0, 0], outcomes
    found: dict[str, Any] = torch.load(result, weights_only=True)
    return found


@pytest.mark.parametrize("case", range(len(CASES)), ids=list(CASES))
def test_two_processes_train_like_one(
    of_two: dict[str, Any], recipes: list[RunRecipe], digits_store: Store, case: int
) -> None:
    two, one = of_two["trained"][case], train_shortly(recipes[case], digits_store)
    assert two["values"] == pytest.approx(one["values"], rel=LOSS_TOLERANCE)
    assert two["gradients"].keys() == one["gradients"].keys()
    for name, gradient in one["gradients"].items():
        atol = GRADIENT_TOLERANCE * gradient.abs().max().item()
        got = two["gradients"][name]
        torch.testing.assert_close(got, gradient, rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}")
    for got, want in zip(two["losses"], one["losses"], strict=True):
        assert got == pytest.approx(want, rel=STEP_TOLERANCE)
    moved = 0
    for part in ("student", "teacher", "objective"):
        for name, value in one["state"][part].items():
            torch.testing.assert_close(two["state"][part][name], value, rtol=STEP_TOLERANCE, atol=1e-6)
            if name.endswith(STATE[list(CASES)[case]]):
                moved += bool((value - one["begun"][name]).abs().max() > 1e-4)
    assert moved == 2  # one for the IR and one for the EF
    for name, weight in one["probe"].items():
        torch.testing.assert_close(two["probe"][name], weight, rtol=2e-3, atol=1e-5)
    assert len(two["probed"]) == 2
    for got, want in zip(two["probed"], one["probed"], strict=True):
        assert got == pytest.approx(want, abs=100 / 32 + 1e-6)  # one image may change its class
    if list(CASES)[case] == "whole":  # otherwise, it covers the last part of the batch, which contains other images
        assert two["diagnosis"] == pytest.approx(one["diagnosis"], rel=1e-3)


def test_collective_operations(of_two: dict[str, Any]) -> None:
    torch.testing.assert_close(of_two["gathered"], gather_gradient())
    assert of_two["flags"] == [True, False]
    first, second, own = draw_differently_seeded()
    assert torch.equal(of_two["drawn"][0], first)
    assert torch.equal(of_two["drawn"][1], second)
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(of_two["drawn"][2], torch.cat([own, torch.rand(1)]))  # the second's generator is unused


def test_any_number_of_processes_draws_the_same_views(make_recipe: Any) -> None:
    recipe = make_recipe(backbone=VIT, augmentation={"name": "caug_plus"})
    trainer = Trainer(recipe, (0.5,) * 3, (0.2,) * 3, 6, torch.device("cpu"))
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (16, 3, 24, 20), dtype=torch.uint8, generator=draw)
    sizes = torch.stack([torch.randint(12, side, (16,), generator=draw) for side in (25, 21)], dim=1)
    batch = ImageBatch(pixels, sizes, torch.zeros(16), torch.arange(16))
    alone = trainer.make_views(batch, 3)
    trainer.processes = 4
    shared = []
    for rank in range(4):
        trainer.rank, rows = rank, slice(4 * rank, 4 * rank + 4)
        shared.append(trainer.make_views(ImageBatch(pixels[rows], sizes[rows], torch.zeros(4), torch.arange(4)), 3))
    for number, view in enumerate(alone):
        for name, column in view.parameters.items():
            assert torch.equal(torch.cat([views[number].parameters[name] for views in shared]), column), name
        joined = torch.cat([views[number].images for views in shared])
        torch.testing.assert_close(joined, view.images, rtol=0, atol=1e-5)


def test_batches_that_processes_cannot_share_are_rejected(
    make_recipe: Any, digits_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="cuda:1 is one GPU"), joined_processes("cuda:1"):
        pass
    monkeypatch.setattr("clever.pretraining.trainer.is_distributed", lambda: True)
    with pytest.raises(UserError, match="has BatchNorm"):
        Trainer(make_recipe(), digits_store.mean, digits_store.std, 6, torch.device("cpu"))
    monkeypatch.setattr("clever.pretraining.trainer.process_count", lambda: 3)
    recipe = make_recipe(backbone=VIT, optimisation={"accumulate": 2})
    with pytest.raises(UserError, match="batch_size 16 is not a multiple of 3 processes x accumulate 2"):
        Trainer(recipe, digits_store.mean, digits_store.std, 6, torch.device("cpu"))


def pretrain_command(recipe: RunRecipe, store: Store, folder: Path) -> list[str]:
    options = ["--recipe", recipe.model_dump_json(), "--store", str(store.folder), "--output", str(folder)]
    return ["-m", "clever.cli", "pretrain", *options, "--device", "cpu", "--threads", "1", "--log-every", "2"]


def test_a_signal_to_one_process_stops_all_and_torchrun_resumes(
    make_recipe: Any, digits_store: Store, tmp_path: Path
) -> None:
    recipe = make_recipe(backbone=VIT, optimisation=STEPS | {"epochs": 60, "learning_rate": 0.01})
    folder = tmp_path / "run"
    started = launch(*pretrain_command(recipe, digits_store, folder))
    metrics = folder / "state" / "metrics.csv"
    deadline = time.monotonic() + 100
    while not metrics.exists() and time.monotonic() < deadline and started[0].poll() is None:
        time.sleep(0.05)
    started[1].send_signal(signal.SIGTERM)  # not the process that writes
    outcomes = finish(started)
    assert [status for status, _ in outcomes] == [75, 75], outcomes
    assert "another process was stopped" in outcomes[0][1]
    assert "images/s" not in outcomes[1][1]
    rows = list(csv.DictReader(metrics.open()))
    assert 1 <= len(rows) < 60
    assert not (folder / "run.json").exists()

    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *torchrun, *pretrain_command(recipe, digits_store, folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("resumes at step") == 1
    described = json.loads((folder / "run.json").read_text())
    assert described["hardware"]["processes"] == 2
    finished = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [int(row["epoch"]) for row in finished] == list(range(60))
    # Apart from the wall-clock speed, the lines before the stop are unchanged.
    assert [row["loss"] for row in finished[: len(rows)]] == [row["loss"] for row in rows]


def test_a_loss_that_is_not_finite_stops_all(make_recipe: Any, digits_store: Store, tmp_path: Path) -> None:
    recipe = make_recipe(backbone=VIT, optimisation=STEPS | {"learning_rate": 1e30, "clip_gradient": None})
    outcomes = finish(launch(*pretrain_command(recipe, digits_store, tmp_path / "run")))
    assert [status for status, _ in outcomes] == [2, 2], outcomes
    assert all("error: digits/tiny/tiny/tiny/seed0: " in text for _, text in outcomes)


if __name__ == "__main__":
    main(*sys.argv[1:])
