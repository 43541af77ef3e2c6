"""Core-tuning's mixtures, focal contrast and whole loss against a float64 form with loops."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from clever.evaluation.core_tuning import CoreTuning, focal_contrast, mix
from clever.evaluation.fine_tuned import settings_of
from clever.evaluation.options.core_tuning import CoreTuningOptions
from clever.evaluation.options.fine_tuning import FineTuningOptions

LABELS = [0, 1, 0, 2, 1, 0, 3]  # classes 2 and 3 have one image each
ROWS, WIDTH, CLASSES, T = len(LABELS), 5, 4, 0.3


def drawn(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features, partners and both kinds of shares."""
    draw = torch.Generator().manual_seed(seed)
    shares = torch.rand(2, ROWS, generator=draw)
    features = torch.randn(ROWS, WIDTH, generator=draw, dtype=torch.float64)
    return features, torch.randperm(ROWS, generator=draw), shares[0].clamp_min(0.8), shares[1]


def cosine(one: Tensor, two: Tensor) -> float:
    return float(one @ two / (one.norm() * two.norm()))


def by_loops(
    features: Tensor, partners: list[int], negative: list[float], positive: list[float]
) -> tuple[list[Tensor], list[dict[int, float]]]:
    """Mixed features, and the class shares of each."""
    known = features.detach()
    found, labels = list(features), [{label: 1.0} for label in LABELS]

    def add(one: int, two: int, share: float) -> None:
        found.append(share * features[one] + (1 - share) * features[two])
        of_classes: dict[int, float] = {}
        for image, part in ((one, share), (two, 1 - share)):
            of_classes[LABELS[image]] = of_classes.get(LABELS[image], 0.0) + part
        labels.append(of_classes)

    for i in range(ROWS):
        add(partners[i], i, negative[i])
    for i in range(ROWS):
        near = {j: cosine(known[i], known[j]) for j in range(ROWS) if j != i}
        same = [j for j in near if LABELS[j] == LABELS[i]]
        other = [j for j in near if LABELS[j] != LABELS[i]]
        add(min(same, key=near.__getitem__) if same else i, max(other, key=near.__getitem__), positive[i])
    return found, labels


def whole_loss(
    features: Tensor,
    drawn_numbers: tuple[Tensor, Tensor, Tensor],
    projector: nn.Sequential,
    head: nn.Linear,
    weight: float,
) -> Tensor:
    mixed, labels = by_loops(features, *(numbers.tolist() for numbers in drawn_numbers))
    total = torch.zeros((), dtype=torch.float64)
    for vector, shares in zip(mixed, labels, strict=True):
        logits = head(vector)
        total = total - sum(part * (logits[label] - logits.exp().sum().log()) for label, part in shares.items())
    units = [projector(vector) / projector(vector).norm() for vector in mixed]
    anchors, contrast = 0, torch.zeros((), dtype=torch.float64)
    for i in range(len(units)):
        scores = {j: (units[i] @ units[j] / T).exp() for j in range(len(units)) if j != i}
        alike = [j for j in scores if len(labels[i]) == len(labels[j]) == 1 and labels[i].keys() == labels[j].keys()]
        anchors += bool(alike)
        for j in alike:
            p = scores[j] / torch.stack(list(scores.values())).sum()
            contrast = contrast - (1 - p) * p.log() / len(units)
    return total / len(mixed) + weight * contrast / anchors


def test_loss_and_gradients() -> None:
    features = drawn()[0]
    single = CoreTuning(CoreTuningOptions(temperature=T, projection_dim=3, weight=0.7), WIDTH, seed=0)
    double = CoreTuning(CoreTuningOptions(temperature=T, projection_dim=3, weight=0.7), WIDTH, seed=0).double()
    torch.manual_seed(0)
    head = nn.Linear(WIDTH, CLASSES)
    double_head = nn.Linear(WIDTH, CLASSES).double()
    double_head.load_state_dict(head.state_dict())

    torch.manual_seed(3)
    mine = features.float().requires_grad_()
    loss = single.loss(mine, torch.tensor(LABELS), head)
    torch.manual_seed(3)
    partners, negative, positive = torch.randperm(ROWS), torch.rand(ROWS).clamp_min(0.8), torch.rand(ROWS)
    theirs = features.clone().requires_grad_()
    expected = whole_loss(theirs, (partners, negative, positive), double.projector, double_head, 0.7)
    torch.testing.assert_close(loss.double(), expected, rtol=2e-5, atol=1e-6)
    loss.backward()
    expected.backward()
    pairs = [(mine, theirs), *zip(single.parameters(), double.parameters(), strict=True)]
    pairs += zip(head.parameters(), double_head.parameters(), strict=True)
    for one, other in pairs:
        assert one.grad is not None
        assert other.grad is not None
        scale = other.grad.abs().max().item()
        assert scale > 1e-9
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=1e-3, atol=2e-5 * scale)


def test_labels_of_mixtures_equal_the_loops() -> None:
    features, partners, negative, positive = drawn(1)
    found = mix(features, torch.tensor(LABELS), CLASSES, partners, negative, positive)
    vectors, labels = by_loops(features, partners.tolist(), negative.tolist(), positive.tolist())
    torch.testing.assert_close(found.features, torch.stack(vectors), rtol=1e-6, atol=1e-6)
    for row, shares in enumerate(labels):
        expected = [shares.get(label, 0.0) for label in range(CLASSES)]
        assert found.labels[row].tolist() == pytest.approx(expected, abs=1e-6)
        assert int(found.classes[row]) == next(iter(shares)) if len(shares) == 1 else int(found.classes[row]) < 0
    impure = found.classes[found.classes < 0]
    assert len(impure.unique()) == len(impure)


def test_a_batch_without_positives_or_negatives_uses_the_image_itself() -> None:
    features = torch.eye(2)
    one_class = mix(features, torch.tensor([0, 0]), 1, torch.tensor([1, 0]), torch.ones(2), torch.zeros(2))
    assert torch.equal(one_class.features[4:], features)  # the image itself as its negative
    alone = mix(features[:1], torch.tensor([1]), 2, torch.tensor([0]), torch.ones(1), torch.full((1,), 0.5))
    assert torch.equal(alone.features, features[:1].expand(3, -1))
    assert focal_contrast(F.normalize(torch.rand(2, 3), dim=1), torch.tensor([0, 1]), T) == 0


def test_nesterov_needs_a_momentum() -> None:
    assert settings_of(FineTuningOptions(nesterov=True)).nesterov
    with pytest.raises(ValidationError, match="nesterov needs a momentum above 0"):
        FineTuningOptions(nesterov=True, momentum=0.0)
