"""SwAV: Sinkhorn's assignments, the swapped loss, prototypes of length 1, and the queue."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from lightly.loss import SwaVLoss
from torch import Tensor, nn

from clever.baselines import HeadOutput
from clever.baselines.options.swav import SwavOptions
from clever.baselines.sinkhorn import sinkhorn
from clever.baselines.swav import Swav

TINY = {"prototypes": 6, "freeze_prototypes_epochs": 0}
JOINED = {"prototypes": 6, "queue_length": 16, "queue_start_epoch": 0}
STOPS_GRADIENTS = {"swav": "the assignments"}

SMALL = {"hidden_dim": 12, "out_dim": 6, "prototypes": 5}


def swav(**settings: Any) -> Swav:
    return Swav(SwavOptions.model_validate(SMALL | settings))


HEAD = swav().make_head(7)
"""A head whose prototypes are used only if there is a queue."""


def outputs(scores: list[Tensor]) -> list[HeadOutput]:
    return [HeadOutput(torch.zeros(len(view), 6), view) for view in scores]


def draw_scores(views: int, rows: int, prototypes: int = 5, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [2 * torch.rand(rows, prototypes, generator=generator, dtype=torch.float64) - 1 for _ in range(views)]


def plain_sinkhorn(scores: Tensor, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    """Sinkhorn-Knopp exactly as in the paper: exp, then normalise rows and columns alternately."""
    q = [[math.exp(value / epsilon) for value in row] for row in scores.tolist()]
    images, prototypes = range(len(q)), range(len(q[0]))
    for _ in range(iterations):
        for k in prototypes:
            total = sum(q[b][k] for b in images)
            for b in images:
                q[b][k] /= total * len(prototypes)
        for b in images:
            total = sum(q[b])
            for k in prototypes:
                q[b][k] /= total * len(images)
    return torch.tensor(q, dtype=torch.float64) * len(images)


def reference(scores: list[Tensor], measure: Any) -> Tensor:
    """``measure(assignment, softmax)``, a batch mean, averaged over assigned views and all other views."""
    total = torch.zeros((), dtype=torch.float64)
    for assigned in (0, 1):
        target = plain_sinkhorn(scores[assigned].detach())
        for view in range(len(scores)):
            if view != assigned:
                for q, s in zip(target, scores[view], strict=True):
                    share = torch.exp(s / 0.1) / torch.exp(s / 0.1).sum()
                    total = total + measure(q, share) / len(target) / (2 * (len(scores) - 1))
    return total


@pytest.mark.parametrize("views", [2, 3, 6])
def test_loss_and_gradient(views: int, agree: Any) -> None:
    agree(
        lambda t: swav().attract(outputs(t), outputs(t)[:2], HEAD),
        lambda t: reference(t, lambda q, p: -(q * torch.log(p)).sum()),
        draw_scores(views, 8),
    )


@pytest.mark.parametrize("views", [2, 4])
def test_similarity_is_the_cosine_of_assignment_and_distribution(views: int, agree: Any) -> None:
    agree(
        lambda t: swav().similarity(outputs(t), outputs(t)[:2], HEAD),
        lambda t: reference(t, lambda q, p: (q * p).sum() / (q.norm() * p.norm())),
        draw_scores(views, 8),
    )


def test_similarity_is_one_on_the_same_prototypes_and_zero_on_others() -> None:
    """Eight images on four prototypes, two on each, and the same images shifted by two prototypes."""
    scores = 2 * torch.eye(4).repeat(2, 1) - 1
    built = swav(prototypes=4)
    same, other = outputs([scores, scores]), outputs([scores, scores.roll(2, dims=1)])
    assert built.similarity(same, same, HEAD).item() == pytest.approx(1, abs=1e-6)
    assert built.similarity(other, other, HEAD).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("views", [2, 5])
def test_loss_and_gradient_equal_lightly(views: int, agree: Any) -> None:
    agree(
        lambda t: swav().attract(outputs(t), outputs(t)[:2], HEAD),
        lambda t: SwaVLoss()(t[:2], t[2:]),
        draw_scores(views, 8),
    )


@pytest.mark.parametrize("iterations", [1, 3, 10])
@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_sinkhorn_equals_the_plain_algorithm(iterations: int, epsilon: float) -> None:
    (scores,) = draw_scores(1, 7, 4)
    got = sinkhorn(scores, epsilon=epsilon, iterations=iterations)
    torch.testing.assert_close(got.double(), plain_sinkhorn(scores, epsilon, iterations), rtol=1e-4, atol=1e-6)


def test_sinkhorn_s_marginals() -> None:
    """An image's assignment sums to 1 after any iteration; a prototype's share tends to B / K."""
    (scores,) = draw_scores(1, 12, 4)
    shortfalls = []
    for iterations in (1, 3, 200):
        q = sinkhorn(scores, epsilon=0.1, iterations=iterations)
        torch.testing.assert_close(q.sum(1), torch.ones(12))
        shortfalls.append((q.sum(0) - 3).abs().max().item())
    assert shortfalls[0] > shortfalls[1] > shortfalls[2]
    assert shortfalls[0] > 1e-2
    assert shortfalls[2] < 1e-4


def test_equal_scores_are_assigned_evenly() -> None:
    torch.testing.assert_close(sinkhorn(torch.ones(6, 4), epsilon=0.05, iterations=3), torch.full((6, 4), 0.25))


def test_a_tiny_epsilon_stays_finite_where_the_plain_algorithm_fails() -> None:
    scores = torch.tensor([[1.0, -1.0], [1.0, -0.9], [0.9, -1.0], [1.0, 0.5]])
    assert not torch.exp(scores / 0.002).isfinite().all()
    q = sinkhorn(scores, epsilon=0.002, iterations=3)
    assert q.isfinite().all()
    torch.testing.assert_close(q.sum(1), torch.ones(4))
    assert q[:, 1].argmax() == 3  # the image that is nearest to the second prototype takes most of it
    assert q[3, 1] > 0.9


def test_head_compares_unit_vectors() -> None:
    head = swav().make_head(7)
    nn.init.normal_(head.prototypes.weight, std=5.0)
    features = torch.randn(9, 7, generator=torch.Generator().manual_seed(0))
    output = head(features)
    torch.testing.assert_close(output.projection.norm(dim=1), torch.ones(9))
    torch.testing.assert_close(head.prototypes.weight.norm(dim=1), torch.ones(5))
    assert output.prediction is not None
    for n in range(9):
        for k in range(5):
            expected = output.projection[n] @ head.prototypes.weight[k]
            assert output.prediction[n, k].item() == pytest.approx(expected.item(), abs=1e-6)


def test_head_has_the_published_shapes() -> None:
    head = Swav(SwavOptions()).make_head(64)
    linear = [(x.in_features, x.out_features) for x in head.modules() if isinstance(x, nn.Linear)]
    assert linear == [(64, 2048), (2048, 128), (128, 3000)]
    assert [type(layer).__name__ for layer in head.projector] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert head.prototypes.bias is None


def test_normalising_twice_changes_neither_bits_nor_graph() -> None:
    head = swav().make_head(7)
    before = head.prototypes.weight.detach().clone()
    features = torch.randn(9, 7, generator=torch.Generator().manual_seed(0))
    first, second = head(features).prediction, head(2 * features).prediction
    (first.sum() + second.square().sum()).backward()  # autograd would reject a changed weight
    assert torch.equal(head.prototypes.weight, before)
    head.eval()
    nn.init.constant_(head.prototypes.weight, 2.0)
    head(features)
    assert (head.prototypes.weight == 2.0).all()  # evaluation does not change it


def test_prototypes_are_frozen_at_the_start() -> None:
    built = swav(freeze_prototypes_epochs=2)
    head = built.make_head(7)
    for epoch in (0, 1):
        assert [id(p) for p in built.frozen_parameters(head, epoch)] == [id(head.prototypes.weight)]
    assert built.frozen_parameters(head, 2) == []


def filled(rows: int, seed: int = 0) -> list[HeadOutput]:
    generator = torch.Generator().manual_seed(seed)
    return [HeadOutput(nn.functional.normalize(torch.randn(rows, 6, generator=generator), dim=-1)) for _ in range(2)]


def test_queue_holds_the_newest_embeddings_of_each_view_from_its_epoch_on() -> None:
    built = swav(queue_length=10, queue_start_epoch=1)
    steps = [filled(4, seed) for seed in range(4)]
    built.observe(steps[0])
    assert not built.queue.any()
    built.start_epoch(1)
    used = []
    for step in steps[1:]:
        built.observe(step)
        used.append(built.queue_is_used())
    assert used == [False, False, True]
    for view in (0, 1):
        expected = torch.cat([steps[number][view].projection for number in (3, 2, 1)])[:10]
        assert torch.equal(built.queue[view], expected)
    resumed = swav(queue_length=10, queue_start_epoch=1)
    resumed.load_state_dict(built.state_dict())
    assert resumed.queue_is_used()


def test_a_full_queue_takes_part_in_the_assignment_with_the_current_prototypes(agree: Any) -> None:
    built = swav(queue_length=8, queue_start_epoch=0)
    head = built.make_head(7)
    other = copy.deepcopy(built)
    built.observe(filled(4, 1))
    scores = draw_scores(3, 6)
    agree(lambda t: built.attract(outputs(t), outputs(t)[:2], head), lambda t: SwaVLoss()(t[:2], t[2:]), scores)
    built.observe(filled(4, 2))
    with torch.no_grad():
        head.prototypes.weight.copy_(torch.randn(5, 6, generator=torch.Generator().manual_seed(9)))
    head.normalise_prototypes()
    queued = [(view @ head.prototypes.weight.detach().T).double() for view in built.queue]
    without = SwaVLoss()(scores[:2], scores[2:]).item()
    assert SwaVLoss()(scores[:2], scores[2:], queued).item() != pytest.approx(without, rel=1e-3)
    agree(lambda t: built.attract(outputs(t), outputs(t)[:2], head), lambda t: SwaVLoss()(t[:2], t[2:], queued), scores)
    assert not other.queue.any()


def test_without_a_queue_no_embedding_is_kept() -> None:
    built = swav()
    built.start_epoch(20)
    built.observe(filled(4))
    assert built.queue.numel() == 0
    assert not built.queue_is_used()


def test_scores_are_not_rounded_under_autocast() -> None:
    head = swav().make_head(7).eval()
    head.projector = nn.Sequential(nn.Identity())
    features = nn.functional.normalize(torch.randn(9, 6, generator=torch.Generator().manual_seed(0)), dim=-1)
    plain = head(features).prediction
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head(features).prediction, plain)


def test_diagnosis_detects_a_collapse() -> None:
    one = torch.full((8, 5), -1.0)
    one[:, 2] = 1.0
    values = swav().diagnose(outputs([one, one]), [])
    assert values["assignment_entropy_ratio"].item() == pytest.approx(0, abs=1e-4)
    assert values["assignment_information_ratio"].item() == pytest.approx(0, abs=1e-4)
    flat = swav().diagnose(outputs([torch.zeros(8, 5)] * 2), [])
    assert flat["assignment_entropy_ratio"].item() == pytest.approx(1, abs=1e-5)
    assert flat["assignment_information_ratio"].item() == pytest.approx(0, abs=1e-5)
    spread = 2 * torch.eye(5).repeat(2, 1) - 1
    healthy = swav().diagnose(outputs([spread, spread]), [])
    assert healthy["assignment_information_ratio"].item() == pytest.approx(1, abs=1e-4)
