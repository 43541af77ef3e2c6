"""MoCHi's synthetic negatives and its loss against a float64 form with the same draws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from clever.baselines import HeadOutput
from clever.baselines.mochi import Mochi
from clever.baselines.options.mochi import MochiOptions

TINY = {"queue_length": 16, "momentum": 0.9, "hardest": 4, "start_epoch": 0}
JOINED = {"queue_length": 32, "hardest": 8, "start_epoch": 0}

ROWS, WIDTH, LENGTH, HARDEST, AMONG, WITH = 4, 6, 20, 5, 3, 2
SETTINGS = {
    **{"hidden_dim": 12, "out_dim": WIDTH, "queue_length": LENGTH, "hardest": HARDEST, "start_epoch": 2},
    **{"mixed_negatives": AMONG, "mixed_with_query": WITH, "symmetric": False},
}


def mochi(epoch: int = 2) -> Mochi:
    baseline = Mochi(MochiOptions.model_validate(SETTINGS))
    baseline.start_epoch(epoch)
    return baseline


def mixtures(q: Tensor, queue: Tensor, choice: Tensor, share: Tensor) -> list[Tensor]:
    """The synthetic negatives of one query, one after the other."""
    nearest = sorted(queue, key=lambda row: -float(row @ q))[:HARDEST]
    chosen = [nearest[int(c * HARDEST)] for c in choice.tolist()]
    found = [share[m] * chosen[m] + (1 - share[m]) * chosen[AMONG + m] for m in range(AMONG)]
    for m in range(2 * AMONG, 2 * AMONG + WITH):
        found.append(share[m] / 2 * q + (1 - share[m] / 2) * chosen[m])
    return [mixture / mixture.norm() for mixture in found]


def test_loss_and_gradient(draw: Any, agree: Any) -> None:
    baseline, keys = mochi(), draw(1, ROWS, WIDTH, 1)[0]
    queue = baseline.queue[1].double()

    def reference(t: list[Tensor]) -> Tensor:
        torch.manual_seed(3)
        choice, share = torch.rand(ROWS, 2, 2 * AMONG + WITH).double().unbind(1)
        total = torch.zeros((), dtype=torch.float64)
        for i in range(ROWS):
            q, k = t[0][i] / t[0][i].norm(), keys[i] / keys[i].norm()
            negatives = [*queue, *mixtures(q.detach(), queue, choice[i], share[i])]
            logits = torch.stack([q @ k, *(q @ n for n in negatives)]) / 0.2
            total = total - (logits[0] - torch.logsumexp(logits, 0)) / ROWS
        return total

    def mine(t: list[Tensor]) -> Tensor:
        torch.manual_seed(3)
        other = HeadOutput(keys.float())
        return baseline.attract([HeadOutput(t[0]), other], [other, other])

    agree(mine, reference, draw(1, ROWS, WIDTH))


def test_no_negatives_are_mixed_before_the_start(draw: Any) -> None:
    t = [HeadOutput(tensor.float()) for tensor in draw(2, ROWS, WIDTH)]
    losses = [mochi(epoch).attract(t, t) for epoch in (0, 1, 2)]
    assert torch.equal(losses[0], losses[1])
    assert losses[2] > losses[1]  # further terms in the denominator


def test_more_of_the_hardest_than_the_queue_holds_are_rejected() -> None:
    with pytest.raises(ValueError, match="hardest 21 exceeds queue_length 20"):
        MochiOptions.model_validate({**SETTINGS, "hardest": 21})
