"""NNCLR: its loss on nearest neighbours, and its queue."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightly.loss import NTXentLoss
from torch import Tensor

from clever.baselines import HeadOutput
from clever.baselines.nnclr import Nnclr
from clever.baselines.options.nnclr import NnclrOptions
from clever.errors import UserError

TINY = {"queue_length": 64}

ROWS, WIDTH, LENGTH = 5, 10, 12


def nnclr(temperature: float = 0.3) -> Nnclr:
    return Nnclr(NnclrOptions(hidden_dim=12, out_dim=WIDTH, queue_length=LENGTH, temperature=temperature))


def student(tensors: list[Tensor]) -> list[HeadOutput]:
    """z1, z2, p1, p2."""
    return [HeadOutput(tensors[0], tensors[2]), HeadOutput(tensors[1], tensors[3])]


def by_loops(tensors: list[Tensor], queue: Tensor, temperature: float) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for z, p in ((tensors[0], tensors[3]), (tensors[1], tensors[2])):
        for i in range(ROWS):
            neighbour = max(queue.double(), key=lambda row: float(row @ z[i].detach()))
            logits = torch.stack([neighbour @ (p[j] / p[j].norm()) / temperature for j in range(ROWS)])
            total = total - (logits[i] - torch.logsumexp(logits, 0)) / (2 * ROWS)
    return total


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_loss_and_gradient_reach_only_the_predictions(temperature: float, draw: Any, agree: Any) -> None:
    baseline = nnclr(temperature)
    agree(
        lambda t: baseline.attract(student(t), student(t)),
        lambda t: by_loops(t, baseline.queue, temperature),
        draw(4, ROWS, WIDTH),
    )


def test_with_the_views_in_the_queue_the_loss_equals_lightly_s_moco(draw: Any) -> None:
    """Then every projection is its own neighbour, and the loss is one direction of NT-Xent with N - 1 negatives."""
    t = [tensor.float() for tensor in draw(4, ROWS, WIDTH)]
    baseline = nnclr()
    for view in t[:2]:
        baseline.observe([HeadOutput(view)])
    for view in t[:2]:
        torch.testing.assert_close(baseline.neighbours(view), torch.nn.functional.normalize(view, dim=1))
    queues = []
    for z, p in ((t[0], t[3]), (t[1], t[2])):
        lightly = NTXentLoss(temperature=0.3, memory_bank_size=(0, WIDTH))
        queries, keys = (torch.nn.functional.normalize(x, dim=1) for x in (z, p))
        logits = queries @ keys.T / 0.3
        queues.append(lightly.cross_entropy(logits, torch.arange(ROWS)))
    torch.testing.assert_close(baseline.attract(student(t), student(t)), sum(queues) / 2)


def test_the_queue_keeps_the_newest_first_views(draw: Any) -> None:
    baseline, views = nnclr(), [tensor.float() for tensor in draw(6, ROWS, WIDTH)]
    for first, second in zip(views[:3], views[3:], strict=True):
        baseline.observe([HeadOutput(first), HeadOutput(second)])
    expected = torch.nn.functional.normalize(torch.cat([views[2], views[1], views[0]]), dim=1)[:LENGTH]
    assert torch.equal(baseline.queue, expected)
    assert "queue" in baseline.state_dict()


def test_similarity_equals_simsiam_s(draw: Any, agree: Any) -> None:
    def by_rows(t: list[Tensor]) -> Tensor:
        cosines = [
            torch.stack([p[i] @ z[i].detach() / (p[i].norm() * z[i].detach().norm()) for i in range(ROWS)]).mean()
            for p, z in ((t[2], t[1]), (t[3], t[0]))
        ]
        return (sum(cosines, torch.zeros((), dtype=torch.float64)) / 2).abs()

    baseline = nnclr()
    agree(lambda t: baseline.similarity(student(t), student(t)), by_rows, draw(4, ROWS, WIDTH))


def test_three_views_are_refused(draw: Any) -> None:
    t = [tensor.float() for tensor in draw(4, ROWS, WIDTH)]
    with pytest.raises(UserError, match="nnclr compares exactly two views, not 3"):
        nnclr().attract([*student(t), student(t)[0]], student(t))
